import { FormatError, UsageError, type Identity, type StoreChange } from "@godwit/base";
import {
  checkCredential,
  credentialId,
  credentialIdOf,
  decodeCredential,
  encodeCredential,
  viewCredential,
  type Credential,
  type CredentialView,
} from "./credential.ts";
import type { StoredRecord } from "./events.ts";

/** Encrypts what is stored, bound to its place. `open` throws FormatError for what is not ours or was changed. */
export type CredentialSealer = {
  seal(secret: Uint8Array, context: string): Uint8Array;
  open(sealed: Uint8Array, context: string): Uint8Array;
};

/** Every credential of the fleet. A credential stands for one endpoint; an endpoint may have several while it changes them. */
export class CredentialBook {
  readonly #byId = new Map<string, Credential>();
  readonly #byEndpoint = new Map<string, number>();
  readonly #sealer: CredentialSealer;
  #revision = 0;

  constructor(sealer: CredentialSealer) {
    this.#sealer = sealer;
  }

  /** Counts changes. */
  get revision(): number {
    return this.#revision;
  }

  get size(): number {
    return this.#byId.size;
  }

  get(id: string): Credential | undefined {
    return this.#byId.get(id);
  }

  all(): IterableIterator<Credential> {
    return this.#byId.values();
  }

  /** What may be shown, of one endpoint or of all. */
  views(endpoint?: string): readonly CredentialView[] {
    return [...this.#byId.values()]
      .filter((credential) => endpoint === undefined || credential.endpoint === endpoint)
      .map(viewCredential);
  }

  endpointOf(identity: Identity): string | undefined {
    const id = credentialIdOf(identity);
    return id === undefined ? undefined : this.#byId.get(id)?.endpoint;
  }

  isSecured(endpoint: string): boolean {
    return this.#byEndpoint.has(endpoint);
  }

  /** The key behind a PSK identity. */
  pskOf(identity: string): Uint8Array | undefined {
    const found = this.#byId.get(`psk:${identity}`);
    return found?.kind === "psk" ? found.key : undefined;
  }

  /** Adds or replaces one. Returns what must be stored. @throws UsageError if its public part is another endpoint's */
  add(credential: Credential): StoreChange {
    checkCredential(credential);
    const id = credentialId(credential);
    const before = this.#byId.get(id);
    if (before !== undefined && before.endpoint !== credential.endpoint) {
      throw new UsageError(`${id} belongs to the endpoint ${before.endpoint} already`);
    }
    this.#put(id, credential);
    const value = this.#sealer.seal(encodeCredential(credential), context(id));
    return { table: CREDENTIAL_TABLE, key: id, value };
  }

  /** Returns what must be stored, or undefined if there is none such. */
  remove(id: string): StoreChange | undefined {
    const credential = this.#byId.get(id);
    if (credential === undefined) return undefined;
    this.#byId.delete(id);
    this.#revision += 1;
    const left = (this.#byEndpoint.get(credential.endpoint) ?? 1) - 1;
    if (left === 0) this.#byEndpoint.delete(credential.endpoint);
    else this.#byEndpoint.set(credential.endpoint, left);
    return { table: CREDENTIAL_TABLE, key: id, value: undefined };
  }

  /** Reads back what was stored; returns how many records could not be read. */
  restore(records: Iterable<StoredRecord>): number {
    let unreadable = 0;
    for (const { key, value } of records) {
      try {
        this.#put(key, decodeCredential(this.#sealer.open(value, context(key))));
      } catch (fault) {
        if (!(fault instanceof FormatError)) throw fault;
        unreadable += 1;
      }
    }
    return unreadable;
  }

  #put(id: string, credential: Credential): void {
    if (!this.#byId.has(id)) {
      const had = this.#byEndpoint.get(credential.endpoint) ?? 0;
      this.#byEndpoint.set(credential.endpoint, had + 1);
    }
    this.#byId.set(id, credential);
    this.#revision += 1;
  }
}

function context(id: string): string {
  return `credential/${id}`;
}

export const CREDENTIAL_TABLE = "credential";
