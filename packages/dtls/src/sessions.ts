import type { Instant } from "@godwit/base";
import { FormatError, toHex } from "@godwit/base";
import { fromLatin1, latin1 } from "./latin1.ts";
import { type SavedSession, decodeSession, encodeSession, identityKey } from "./saved-session.ts";
import type { DtlsTuning } from "./tuning.ts";

/**
 * Sessions that clients may resume by their id. Kept packed; the oldest makes way for the newest, and before that the oldest
 * of an identity that has its share, so that nobody pushes another's out.
 */
export class SessionCache {
  readonly #limit: number;
  readonly #share: number;
  /** As strings, which take a third of the memory of typed arrays this small. */
  readonly #packed = new Map<string, string>();
  /** The ids of an identity, the oldest first; mostly one, and then without an array. */
  readonly #byIdentity = new Map<string, string | readonly string[]>();

  constructor(tuning: Pick<DtlsTuning, "maxSessions" | "maxSessionsPerIdentity">) {
    this.#limit = tuning.maxSessions;
    this.#share = tuning.maxSessionsPerIdentity;
  }

  get size(): number {
    return this.#packed.size;
  }

  /** Identities that have sessions. */
  get identities(): number {
    return this.#byIdentity.size;
  }

  /** Keeps a session; returns the store keys of those that had to go for it. `id`: its id as a string, shared with who has one. */
  keep(session: SavedSession, id: string = latin1(session.id)): string[] {
    return this.#put(id, latin1(encodeSession(session)), identityKey(session.identity));
  }

  /** As `keep`, from the packed form. Throws FormatError if it is none. */
  restore(id: Uint8Array, packed: Uint8Array): string[] {
    return this.#put(latin1(id), latin1(packed), identityKey(decodeSession(packed).identity));
  }

  find(id: Uint8Array, now: Instant): SavedSession | undefined {
    const packed = this.#packed.get(latin1(id));
    if (packed === undefined) return undefined;
    const session = decodeSession(fromLatin1(packed));
    return session.expires > now ? session : undefined;
  }

  drop(id: Uint8Array): void {
    this.#delete(latin1(id));
  }

  /** Forgets every session of an identity, or every expired one; returns their store keys. */
  forget(which: { readonly identity: string } | { readonly expiredAt: Instant }): string[] {
    const ids = "identity" in which ? this.#idsOf(which.identity) : [...this.#packed.keys()];
    const gone: string[] = [];
    for (const id of ids) {
      const packed = this.#packed.get(id);
      if (packed === undefined) continue;
      if ("expiredAt" in which && decodeSession(fromLatin1(packed)).expires > which.expiredAt) {
        continue;
      }
      this.#delete(id);
      gone.push(storeKey(id));
    }
    return gone;
  }

  #put(id: string, packed: string, identity: string): string[] {
    const gone: string[] = [];
    if (this.#packed.has(id)) this.#delete(id);
    this.#packed.set(id, packed);
    const ids = [...this.#idsOf(identity), id];
    this.#byIdentity.set(identity, ids.length === 1 ? id : ids);
    for (const old of ids.slice(0, Math.max(0, ids.length - this.#share))) {
      this.#delete(old);
      gone.push(storeKey(old));
    }
    for (const oldest of this.#packed.keys()) {
      if (this.#packed.size <= this.#limit) break;
      this.#delete(oldest);
      gone.push(storeKey(oldest));
    }
    return gone;
  }

  #idsOf(identity: string): readonly string[] {
    const ids = this.#byIdentity.get(identity) ?? [];
    return typeof ids === "string" ? [ids] : ids;
  }

  #delete(id: string): void {
    const packed = this.#packed.get(id);
    if (packed === undefined) return;
    this.#packed.delete(id);
    const identity = identityKey(decodeSession(fromLatin1(packed)).identity);
    const rest = this.#idsOf(identity).filter((one) => one !== id);
    const [only] = rest;
    if (only === undefined) this.#byIdentity.delete(identity);
    else this.#byIdentity.set(identity, rest.length === 1 ? only : rest);
  }
}

export function sessionStoreKey(id: Uint8Array): string {
  return toHex(id);
}

function storeKey(id: string): string {
  let key = "";
  for (let i = 0; i < id.length; i++) key += id.charCodeAt(i).toString(16).padStart(2, "0");
  return key;
}

/** The id in a store key; throws FormatError if it is none. */
export function sessionIdOf(key: string): Uint8Array {
  if (!/^([0-9a-f]{2}){1,32}$/.test(key)) throw new FormatError("not a session id");
  return Uint8Array.from(key.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
