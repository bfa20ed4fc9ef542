import { equalSecret } from "@godwit/base";
import { type BlockCipher, blockCipher } from "../crypto.ts";

/**
 * AES-CCM (RFC 3610) with a 12-byte nonce, on two AES contexts that live as long as the key is in use. Making a cipher for
 * each record costs more than its encryption, and the garbage of it once more.
 *
 *   B0 = flags nonce length(3)    MAC = CBC over B0, length-prefixed additional data, plaintext, each padded with zeros
 *   Ai = 02 nonce i(3)            S0 hides the MAC, S1... the plaintext
 */
export class Ccm {
  readonly #tag: number;
  readonly #aes: BlockCipher;
  /** Where the chain stands: XORed into the next B0, it begins anew. */
  #chain: Uint8Array = new Uint8Array(BLOCK);

  /** `tag`: its length, 8 or 16. */
  constructor(key: Uint8Array, tag: number) {
    this.#tag = tag;
    this.#aes = blockCipher(key);
  }

  /** Encrypts into `out` at `at`: ciphertext, then tag. */
  seal(
    nonce: Uint8Array,
    aad: Uint8Array,
    plaintext: Uint8Array,
    out: Uint8Array,
    at: number,
  ): void {
    const stream = this.#stream(nonce, plaintext.length);
    const mac = this.#mac(nonce, aad, plaintext);
    const end = at + plaintext.length;
    for (let i = 0; i < plaintext.length; i++) out[at + i] = plaintext[i]! ^ stream[BLOCK + i]!; // the stream is longer
    for (let i = 0; i < this.#tag; i++) out[end + i] = mac[i]! ^ stream[i]!; // one block each
  }

  /** The plaintext, or undefined where the tag does not verify. `sealed` has the tag's length at least. */
  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    const length = sealed.length - this.#tag;
    const stream = this.#stream(nonce, length);
    const plaintext = new Uint8Array(length);
    for (let i = 0; i < length; i++) plaintext[i] = sealed[i]! ^ stream[BLOCK + i]!; // the stream is longer
    const mac = this.#mac(nonce, aad, plaintext);
    const tag = new Uint8Array(this.#tag);
    for (let i = 0; i < this.#tag; i++) tag[i] = mac[i]! ^ stream[i]!; // one block each
    return equalSecret(tag, sealed.subarray(length)) ? plaintext : undefined;
  }

  #stream(nonce: Uint8Array, length: number): Uint8Array {
    const blocks = 1 + Math.ceil(length / BLOCK);
    const counters = room(COUNTERS, blocks);
    for (let i = 0; i < blocks; i++) {
      const at = i * BLOCK;
      counters[at] = LENGTH_SIZE - 1;
      counters.set(nonce, at + 1);
      counters[at + 13] = i >>> 16;
      counters[at + 14] = i >>> 8;
      counters[at + 15] = i;
    }
    return this.#aes.ecb(counters);
  }

  #mac(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const aadBlocks = Math.ceil((2 + aad.length) / BLOCK);
    const blocks = 1 + aadBlocks + Math.ceil(plaintext.length / BLOCK);
    const input = room(MACS, blocks);
    input.fill(0);
    input[0] = 0x40 | (((this.#tag - 2) / 2) << 3) | (LENGTH_SIZE - 1);
    input.set(nonce, 1);
    input[13] = plaintext.length >>> 16;
    input[14] = plaintext.length >>> 8;
    input[15] = plaintext.length;
    for (let i = 0; i < BLOCK; i++) input[i]! ^= this.#chain[i]!; // one block each
    input[16] = aad.length >>> 8;
    input[17] = aad.length;
    input.set(aad, 18);
    input.set(plaintext, (1 + aadBlocks) * BLOCK);
    const chained = this.#aes.cbc(input);
    const last = chained.subarray(chained.length - BLOCK);
    this.#chain = last;
    return last;
  }
}

/** Arrays to fill and hand to AES, one for each length up to 1 KB; longer ones are made as needed. */
function room(kept: Uint8Array[], blocks: number): Uint8Array {
  if (blocks > KEPT_BLOCKS) return new Uint8Array(blocks * BLOCK);
  return (kept[blocks] ??= new Uint8Array(blocks * BLOCK));
}

const BLOCK = 16;
/** 15 - nonce length: bytes of the length and counter fields. */
const LENGTH_SIZE = 3;
const KEPT_BLOCKS = 64;
const COUNTERS: Uint8Array[] = [];
const MACS: Uint8Array[] = [];
