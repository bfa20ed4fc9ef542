import { UsageError, toHex, type SessionId } from "@godwit/base";
import type { Association } from "./association.ts";

/** Sessions by number, and by the kid their peer sends. */
export class ContextDirectory {
  readonly #bySession = new Map<SessionId, Association>();
  /** Most kids have one owner. */
  readonly #byKid = new Map<string, Association | Association[]>();

  get size(): number {
    return this.#bySession.size;
  }

  find(session: SessionId): Association | undefined {
    return this.#bySession.get(session);
  }

  /** All whose peer calls itself `kid`, in the order they came. */
  sharing(kid: Uint8Array): readonly Association[] {
    const found = this.#byKid.get(key(kid));
    return found === undefined ? NONE : Array.isArray(found) ? found : [found];
  }

  values(): IterableIterator<Association> {
    return this.#bySession.values();
  }

  add(association: Association): void {
    const { session, source } = association;
    if (this.#bySession.has(session)) throw new UsageError(`session ${session} is there already`);
    this.#bySession.set(session, association);
    const kid = key(source.recipientId);
    const there = this.#byKid.get(kid);
    if (there === undefined) this.#byKid.set(kid, association);
    else if (Array.isArray(there)) there.push(association);
    else this.#byKid.set(kid, [there, association]);
  }

  remove(association: Association): void {
    this.#bySession.delete(association.session);
    const kid = key(association.source.recipientId);
    const there = this.#byKid.get(kid);
    if (!Array.isArray(there)) {
      this.#byKid.delete(kid);
      return;
    }
    const rest = there.filter((other) => other !== association);
    if (rest.length === 1) this.#byKid.set(kid, rest[0]!);
    else this.#byKid.set(kid, rest); // it had two at least
  }
}

function key(kid: Uint8Array): string {
  return kid.length === 1 ? ONE_BYTE[kid[0]!]! : toHex(kid); // a byte is below 256
}

const ONE_BYTE: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  toHex(Uint8Array.of(byte)),
);
const NONE: readonly Association[] = [];
