import { EMPTY, type Rng, Writer, concat, sha256, utf8 } from "@godwit/base";
import { prf } from "./crypto.ts";
import { type CipherSpec, keyLength } from "./suites.ts";

/**
 * The premaster secret of the PSK exchanges: `other` is the agreed ECDHE secret with its leading zeros, or as many zeros
 * as the key has bytes (RFC 4279 2, RFC 5489 2).
 */
export function pskPremaster(psk: Uint8Array, other?: Uint8Array): Uint8Array {
  return new Writer(psk.length * 2 + 36)
    .prefixed(2, (w) => w.append(other ?? new Uint8Array(psk.length)))
    .prefixed(2, (w) => w.append(psk))
    .bytes();
}

/** RFC 7627 4: bound to the whole handshake so far, so that no two sessions ever share it. */
export function extendedMasterSecret(premaster: Uint8Array, sessionHash: Uint8Array): Uint8Array {
  return prf(premaster, EXTENDED_MASTER_SECRET, sessionHash, MASTER_LENGTH);
}

/** RFC 5246 8.1: for peers that do not know RFC 7627, where the tuning lets them in. */
export function plainMasterSecret(premaster: Uint8Array, randoms: Randoms): Uint8Array {
  return prf(premaster, MASTER_SECRET, concat(randoms.client, randoms.server), MASTER_LENGTH);
}

/** Key material of both directions, client's first: for each MAC key, key, salt (RFC 5246 6.3, reordered). */
export function keyBlock(
  cipher: CipherSpec,
  master: Uint8Array,
  randoms: Randoms,
): { readonly client: Uint8Array; readonly server: Uint8Array } {
  const { mac, key, salt } = cipher;
  const seed = concat(randoms.server, randoms.client);
  const block = prf(master, KEY_EXPANSION, seed, 2 * keyLength(cipher));
  const part = (side: 0 | 1): Uint8Array =>
    concat(
      block.subarray(side * mac, (side + 1) * mac),
      block.subarray(2 * mac + side * key, 2 * mac + (side + 1) * key),
      block.subarray(2 * (mac + key) + side * salt, 2 * (mac + key) + (side + 1) * salt),
    );
  return { client: part(0), server: part(1) };
}

/** verify_data of Finished (RFC 5246 7.4.9). */
export function verifyData(
  master: Uint8Array,
  side: "client" | "server",
  transcript: readonly Uint8Array[],
): Uint8Array {
  return prf(master, FINISHED[side], sha256(...transcript), 12);
}

/** Stands in for the key of an unknown identity, so that its handshake takes the same course (RFC 4279 5). */
export function decoyKey(rng: Rng): Uint8Array {
  return rng.bytes(16);
}

export type Randoms = { readonly client: Uint8Array; readonly server: Uint8Array };

/**
 * Places for the keys of associations, in few large arrays: a typed array of its own would cost each idle association four
 * times its content. Each length of key material has arrays of its own, for there are only three.
 */
export class KeySlab {
  readonly #sizes: Size[] = [];
  readonly #chunk: number;

  /** `chunk`: places in one array. */
  constructor(chunk: number = CHUNK) {
    this.#chunk = chunk;
  }

  /** Places in use. */
  get used(): number {
    return this.#sizes.reduce((sum, size) => sum + size.next - size.free.length, 0);
  }

  /** Keeps both keys, of one length, and gives the number of their place. */
  keep(read: Uint8Array, write: Uint8Array): number {
    const size = this.#size(read.length);
    const slot = size.free.pop() ?? size.next++;
    size.chunks[Math.floor(slot / this.#chunk)] ??= new Uint8Array(this.#chunk * 2 * size.length);
    this.view(slot, read.length, false).set(read);
    this.view(slot, read.length, true).set(write);
    return slot;
  }

  /** The read or write key of a place, as a view. `length`: of one key, as it was kept. */
  view(slot: number, length: number, write: boolean): Uint8Array {
    const index = slot % this.#chunk;
    const chunk = this.#size(length).chunks[(slot - index) / this.#chunk] ?? EMPTY;
    const at = (index * 2 + (write ? 1 : 0)) * length;
    return chunk.subarray(at, at + length);
  }

  /** Wipes a place and lets it be used again. */
  drop(slot: number, length: number): void {
    this.view(slot, length, false).fill(0);
    this.view(slot, length, true).fill(0);
    this.#size(length).free.push(slot);
  }

  #size(length: number): Size {
    let size = this.#sizes.find((known) => known.length === length);
    if (size === undefined) {
      size = { length, chunks: [], free: [], next: 0 };
      this.#sizes.push(size);
    }
    return size;
  }
}

type Size = {
  readonly length: number;
  readonly chunks: Uint8Array[];
  readonly free: number[];
  next: number;
};

const EXTENDED_MASTER_SECRET = utf8("extended master secret");
const MASTER_SECRET = utf8("master secret");
const KEY_EXPANSION = utf8("key expansion");
const FINISHED = { client: utf8("client finished"), server: utf8("server finished") };
const MASTER_LENGTH = 48;
/** Places in one array of a server. */
const CHUNK = 256;
