import { EMPTY, type Rng, Writer, concat } from "@godwit/base";
import { prf, sha256 } from "./crypto.ts";
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
  return prf(premaster, "extended master secret", sessionHash, MASTER_LENGTH);
}

/** RFC 5246 8.1: for peers that do not know RFC 7627, where the tuning lets them in. */
export function plainMasterSecret(premaster: Uint8Array, randoms: Randoms): Uint8Array {
  return prf(premaster, "master secret", concat(randoms.client, randoms.server), MASTER_LENGTH);
}

/** Key material of both directions, client's first: for each MAC key, key, salt (RFC 5246 6.3, reordered). */
export function keyBlock(
  cipher: CipherSpec,
  master: Uint8Array,
  randoms: Randoms,
): { readonly client: Uint8Array; readonly server: Uint8Array } {
  const { mac, key, salt } = cipher;
  const seed = concat(randoms.server, randoms.client);
  const block = prf(master, "key expansion", seed, 2 * keyLength(cipher));
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
  return prf(master, `${side} finished`, sha256(transcript), 12);
}

/** Stands in for the key of an unknown identity, so that its handshake takes the same course (RFC 4279 5). */
export function decoyKey(rng: Rng): Uint8Array {
  return rng.bytes(16);
}

export type Randoms = { readonly client: Uint8Array; readonly server: Uint8Array };

/**
 * Fixed-size places for the keys of associations, in few large arrays: a typed array of its own would cost each idle
 * association four times its content.
 */
export class KeySlab {
  readonly #chunks: Uint8Array[] = [];
  readonly #free: number[] = [];
  #next = 0;

  get used(): number {
    return this.#next - this.#free.length;
  }

  /** Keeps `read` and `write` and gives the number of their place. */
  keep(read: Uint8Array, write: Uint8Array): number {
    const slot = this.#free.pop() ?? this.#next++;
    const index = slot % CHUNK;
    const chunk = (this.#chunks[(slot - index) / CHUNK] ??= new Uint8Array(CHUNK * SLOT));
    chunk.set(read, index * SLOT);
    chunk.set(write, index * SLOT + read.length);
    return slot;
  }

  /** `length` bytes of a place from `from` on, as a view. */
  view(slot: number, from: number, length: number): Uint8Array {
    const index = slot % CHUNK;
    const chunk = this.#chunks[(slot - index) / CHUNK] ?? EMPTY;
    return chunk.subarray(index * SLOT + from, index * SLOT + from + length);
  }

  /** Wipes a place and lets it be used again. */
  drop(slot: number): void {
    this.view(slot, 0, SLOT).fill(0);
    this.#free.push(slot);
  }
}

const MASTER_LENGTH = 48;
/** The longest key material of both directions: CBC with its MAC keys. */
const SLOT = 96;
const CHUNK = 256;
