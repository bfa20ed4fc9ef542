import type { Instant } from "@godwit/base";
import { FormatError, toHex } from "@godwit/base";
import { fromLatin1, latin1 } from "./latin1.ts";
import { type SavedSession, decodeSession, encodeSession, identityKey } from "./saved-session.ts";

/** Sessions that clients may resume by their id. Kept packed; the oldest makes way for the newest. */
export class SessionCache {
  readonly #limit: number;
  /** As strings, which take a third of the memory of typed arrays this small. */
  readonly #packed = new Map<string, string>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#packed.size;
  }

  /** Keeps a session; returns the store keys of those that had to go for it. `id`: its id as a string, shared with who has one. */
  keep(session: SavedSession, id: string = latin1(session.id)): string[] {
    return this.#put(id, latin1(encodeSession(session)));
  }

  /** As `keep`, from the packed form. */
  restore(id: Uint8Array, packed: Uint8Array): string[] {
    return this.#put(latin1(id), latin1(packed));
  }

  find(id: Uint8Array, now: Instant): SavedSession | undefined {
    const packed = this.#packed.get(latin1(id));
    if (packed === undefined) return undefined;
    const session = decodeSession(fromLatin1(packed));
    return session.expires > now ? session : undefined;
  }

  drop(id: Uint8Array): void {
    this.#packed.delete(latin1(id));
  }

  /** Forgets every session of an identity, or every expired one; returns their store keys. */
  forget(which: { readonly identity: string } | { readonly expiredAt: Instant }): string[] {
    const gone: string[] = [];
    for (const [id, packed] of this.#packed) {
      const session = decodeSession(fromLatin1(packed));
      const goes =
        "identity" in which
          ? identityKey(session.identity) === which.identity
          : session.expires <= which.expiredAt;
      if (!goes) continue;
      this.#packed.delete(id);
      gone.push(storeKey(id));
    }
    return gone;
  }

  #put(id: string, packed: string): string[] {
    const gone: string[] = [];
    this.#packed.set(id, packed);
    for (const oldest of this.#packed.keys()) {
      if (this.#packed.size <= this.#limit) break;
      this.#packed.delete(oldest);
      gone.push(storeKey(oldest));
    }
    return gone;
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
