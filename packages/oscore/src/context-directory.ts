import {
  EMPTY,
  SelfKeyed,
  UsageError,
  byNumber,
  hashBytes,
  type Keying,
  type SessionId,
} from "@godwit/base";
import type { Association } from "./association.ts";

/** Sessions by number, and by the kid their peer sends. */
export class ContextDirectory {
  readonly #bySession = new SelfKeyed(BY_SESSION);
  /** The first of those who share a kid; the others follow it. */
  readonly #byKid = new SelfKeyed(BY_KID);
  /** Who was asked for last: a message asks for the same one again and again. */
  #last: Association | undefined;

  get size(): number {
    return this.#bySession.size;
  }

  find(session: SessionId): Association | undefined {
    if (this.#last?.session === session) return this.#last;
    const found = this.#bySession.get(session);
    if (found !== undefined) this.#last = found;
    return found;
  }

  /** Whether any peer calls itself as the bytes from `from` up to `to` say. */
  has(bytes: Uint8Array, from: number, to: number): boolean {
    PLACE.bytes = bytes;
    PLACE.from = from;
    PLACE.to = to;
    const found = this.#byKid.get(PLACE);
    PLACE.bytes = EMPTY; // a datagram's memory is not ours to keep
    return found !== undefined;
  }

  /** All whose peer calls itself `kid`, in the order they came. */
  sharing(kid: Uint8Array): readonly Association[] {
    const all: Association[] = [];
    for (let one = this.#byKid.get(kid); one !== undefined; one = one.namesake) all.push(one);
    return all;
  }

  values(): readonly Association[] {
    return this.#bySession.values();
  }

  add(association: Association): void {
    const { session, source } = association;
    if (this.#bySession.get(session) !== undefined)
      throw new UsageError(`session ${session} is there already`);
    this.#bySession.set(association);
    let last = this.#byKid.get(source.recipientId);
    if (last === undefined) return this.#byKid.set(association);
    while (last.namesake !== undefined) last = last.namesake;
    last.namesake = association;
  }

  remove(association: Association): void {
    if (this.#last === association) this.#last = undefined;
    this.#bySession.delete(association);
    const first = this.#byKid.get(association.source.recipientId);
    if (first === association) {
      this.#byKid.delete(association);
      if (association.namesake !== undefined) this.#byKid.set(association.namesake);
    }
    for (let one = first; one !== undefined; one = one.namesake)
      if (one.namesake === association) one.namesake = association.namesake;
    association.namesake = undefined;
  }
}

const BY_SESSION = byNumber(({ session }: Association) => session);
/** A kid where it lies in a message: there is one of it, for strangers come with as many as they like. */
class KidPlace {
  bytes: Uint8Array = EMPTY;
  from = 0;
  to = 0;
}

const PLACE = new KidPlace();

/** Kids come with credentials: nobody else can put any here. */
const BY_KID: Keying<Uint8Array | KidPlace | Association, Association> = {
  keyOf: (association) => association,
  hash: (kid) => {
    if (kid instanceof KidPlace) return hashBytes(kid.bytes, kid.from, kid.to);
    return kid instanceof Uint8Array ? hashBytes(kid) : kid.source.recipientHash;
  },
  same: (a, b) => {
    if (!("source" in a)) return false; // what is in the table is an association
    if (b instanceof KidPlace) return a.source.isRecipientAt(b.bytes, b.from, b.to);
    return b instanceof Uint8Array ? a.source.isRecipient(b) : a === b;
  },
};
