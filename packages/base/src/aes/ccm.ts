import { UsageError } from "../faults.ts";
import { A0, INPUT, KEY, MASK, TAG, ccmProgram } from "./ccm-program.ts";

/**
 * AES-128-CCM (RFC 3610) for short messages under many keys: keeps nothing of a key, of the key stream, of a tag or of what it
 * decrypted, so that the millionth costs what the first does. Constant in time. Where messages are longer than `longest`, or the runtime lacks what this needs, the system's
 * own is as good: see docs/decisions/aes-in-webassembly.md.
 */
export type AesCcm = {
  /** Bytes of data that it takes; of additional data it takes twice as many. */
  readonly longest: number;
  /**
   * Encrypts into `out` at `at`: ciphertext, then `tag` bytes of tag, for which there must be room. `key`: 16 bytes; `nonce`: 7
   * to 13; `aad`: one at least; `tag`: 4, 6, 8, 10, 12, 14 or 16. Throws UsageError for other lengths, and writes nothing then.
   */
  seal(
    key: Uint8Array,
    nonce: Uint8Array,
    aad: Uint8Array,
    plaintext: Uint8Array,
    tag: number,
    out: Uint8Array,
    at: number,
  ): void;
  /**
   * Decrypts `sealed` from `from` on, ciphertext and tag, to the beginning of `out`, where there must be room; returns how many
   * bytes, or -1 and leaves `out` alone where the tag does not verify. Of what is refused nothing is left.
   */
  open(
    key: Uint8Array,
    nonce: Uint8Array,
    aad: Uint8Array,
    sealed: Uint8Array,
    from: number,
    tag: number,
    out: Uint8Array,
  ): number;
};

/** The one of this process; undefined where the runtime has no WebAssembly with vectors. */
export function aesCcm(): AesCcm | undefined {
  return (made ??= [newAesCcm((globalThis as { readonly WebAssembly?: Assembly }).WebAssembly)])[0];
}

/** Another one, with a memory of its own. */
export function newAesCcm(assembly: Assembly | undefined): AesCcm | undefined {
  const program = ccmProgram();
  if (assembly?.validate(program) !== true) return undefined;
  const { run, memory } = new assembly.Instance(new assembly.Module(program)).exports;
  return new Engine(run, new Uint8Array(memory.buffer));
}

class Engine implements AesCcm {
  readonly longest: number = LONGEST;
  readonly #run: Run;
  readonly #memory: Uint8Array;

  constructor(run: Run, memory: Uint8Array) {
    this.#run = run;
    this.#memory = memory;
    memory.fill(0xff, MASK, MASK + BLOCK);
  }

  seal(
    key: Uint8Array,
    nonce: Uint8Array,
    aad: Uint8Array,
    plaintext: Uint8Array,
    tag: number,
    out: Uint8Array,
    at: number,
  ): void {
    const { length } = plaintext;
    if (at !== at >>> 0 || !(at + length + tag <= out.length)) throw noRoom();
    const start = this.#crypt(key, nonce, aad, plaintext, 0, length, tag, false);
    const memory = this.#memory;
    for (let i = 0; i < length; i++) out[at + i] = memory[start + i]!; // all of it is within the page
    for (let i = 0; i < tag; i++) out[at + length + i] = memory[TAG + i]!; // likewise
    this.#wipeTag();
  }

  open(
    key: Uint8Array,
    nonce: Uint8Array,
    aad: Uint8Array,
    sealed: Uint8Array,
    from: number,
    tag: number,
    out: Uint8Array,
  ): number {
    const length = sealed.length - from - tag;
    if (from !== from >>> 0 || length > out.length) throw noRoom();
    const start = this.#crypt(key, nonce, aad, sealed, from, length, tag, true);
    const memory = this.#memory;
    const end = from + length;
    let difference = 0;
    for (let i = 0; i < tag; i++) difference |= memory[TAG + i]! ^ sealed[end + i]!; // both have a tag
    this.#wipeTag(); // with the right one of a forgery it could be sent again
    if (difference !== 0) {
      memory.fill(0, start, start + length);
      return -1;
    }
    for (let i = 0; i < length; i++) {
      out[i] = memory[start + i]!; // within the page
      memory[start + i] = 0;
    }
    return length;
  }

  #wipeTag(): void {
    const memory = this.#memory;
    for (let i = 0; i < BLOCK; i++) memory[TAG + i] = 0;
  }

  /** Lays everything out and runs the program; returns where the data has become what was asked for. */
  #crypt(
    key: Uint8Array,
    nonce: Uint8Array,
    aad: Uint8Array,
    data: Uint8Array,
    from: number,
    length: number,
    tag: number,
    opens: boolean,
  ): number {
    const n = nonce.length;
    const a = aad.length;
    // RFC 3610 2: M is 4, 6, 8, 10, 12, 14 or 16.
    const isTag = tag === (tag & 0x1e) && tag >= 4 && tag <= BLOCK;
    const isFine = isTag && key.length === BLOCK && n >= 7 && n <= 13;
    if (!isFine || length < 0 || length > LONGEST || a === 0 || a > 2 * LONGEST)
      throw new UsageError("AES-CCM does not take these lengths");
    const memory = this.#memory;
    for (let i = 0; i < BLOCK; i++) memory[KEY + i] = key[i]!; // checked above
    // The flags of RFC 3610 2.2 and 2.3, the nonce, and at the end of both blocks a big-endian number: length, and 0.
    memory[A0] = 14 - n;
    memory[INPUT] = 0x40 | (((tag - 2) >> 1) << 3) | (14 - n);
    for (let i = 1; i < BLOCK; i++) {
      const byte = i <= n ? nonce[i - 1]! : 0; // i - 1 < n
      memory[A0 + i] = byte;
      memory[INPUT + i] = byte;
    }
    memory[INPUT + 14] = memory[INPUT + 14]! | (length >>> 8); // with 13 bytes of nonce the length has these two alone
    memory[INPUT + 15] = length;
    let at = INPUT + BLOCK;
    memory[at++] = a >>> 8;
    memory[at++] = a;
    for (let i = 0; i < a; i++) memory[at++] = aad[i]!; // i < a
    while ((at & (BLOCK - 1)) !== 0) memory[at++] = 0; // INPUT is whole blocks
    const start = at;
    for (let i = 0; i < length; i++) memory[at++] = data[from + i]!; // the callers' lengths
    while ((at & (BLOCK - 1)) !== 0) memory[at++] = 0;
    const dataBlocks = (at - start) / BLOCK;
    const aadBlocks = (start - INPUT) / BLOCK - 1;
    this.#run(aadBlocks, dataBlocks, opens ? 1 : 0, length - (dataBlocks - 1) * BLOCK);
    return start;
  }
}

function noRoom(): UsageError {
  return new UsageError(
    "AES-CCM has no room for what it makes, or is to begin outside of what it takes",
  );
}

type Run = (aadBlocks: number, dataBlocks: number, opens: number, tail: number) => void;

/** What is used of WebAssembly's JavaScript interface; the types of the language do not have it. */
export type Assembly = {
  readonly validate: (bytes: Uint8Array) => boolean;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => {
    readonly exports: { readonly run: Run; readonly memory: { readonly buffer: ArrayBuffer } };
  };
};

/** Once tried. */
let made: [AesCcm | undefined] | undefined;
const BLOCK = 16;
/** Beyond this the system's own is faster, though it makes a cipher for each message. */
const LONGEST = 256;
