import type { Association } from "./association.ts";
import { samePath } from "./path-claim.ts";
import { identityKey } from "./saved-session.ts";

/**
 * Associations beside those of their identities, at most one of each. Whoever has the key may have somebody else's name: who was
 * there before is served until the layer above says that the guest is to stay.
 */
export class Guests {
  readonly #byIdentity = new Map<string, Association>();

  has(association: Association): boolean {
    return (
      this.#byIdentity.size > 0 &&
      this.#byIdentity.get(identityKey(association.identity)) === association
    );
  }

  /** Whether `association` is one beside `incumbent`: at its very path it is the same peer. */
  isGuest(association: Association, incumbent: Association | undefined): boolean {
    if (incumbent === undefined) return false;
    const { path } = association;
    return !(path !== undefined && incumbent.path !== undefined && samePath(path, incumbent.path));
  }

  /** Returns the one before it. */
  add(association: Association): Association | undefined {
    const key = identityKey(association.identity);
    const before = this.#byIdentity.get(key);
    this.#byIdentity.set(key, association);
    return before;
  }

  forget(association: Association): void {
    if (this.has(association)) this.#byIdentity.delete(identityKey(association.identity));
  }
}
