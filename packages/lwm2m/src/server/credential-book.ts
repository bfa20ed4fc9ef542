import {
  FormatError,
  Reader,
  UsageError,
  Writer,
  fromUtf8,
  utf8,
  type Identity,
  type StoreChange,
} from "@godwit/base";
import type { Generation } from "@godwit/dtls";
import {
  checkCredential,
  credentialId,
  credentialIdOf,
  decodeCredential,
  encodeCredential,
  sameCredential,
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

/** A change of the book that waits for its rows to be durable. */
export type BookChange = {
  readonly rows: readonly StoreChange[];
  /** The book has it from now on. */
  readonly take: () => void;
};

type Entry = { readonly credential: Credential; readonly generation: Generation };

/**
 * Every credential of the fleet. A credential stands for one endpoint; an endpoint may have several while it changes them.
 *
 * The name of a credential's endpoint is in the store twice: sealed with it, and beside it. So an endpoint whose credential
 * was damaged, or is missing, is known to have one: it is locked until the credential is given again or revoked.
 */
export class CredentialBook {
  readonly #byId = new Map<string, Entry>();
  /** Credentials that cannot be read, with their endpoint. */
  readonly #unreadable = new Map<string, string>();
  /** Those of them whose endpoint nobody knows. */
  readonly #guessed = new Set<string>();
  readonly #byEndpoint = new Map<string, number>();
  readonly #sealer: CredentialSealer;
  readonly #nextGeneration: () => Generation;
  #revision = 0;

  /** `nextGeneration`: a number that no credential had before, restarts or not; counts from 1 unless given. */
  constructor(sealer: CredentialSealer, nextGeneration?: () => Generation) {
    this.#sealer = sealer;
    let counted = 0;
    this.#nextGeneration = nextGeneration ?? (() => (counted += 1));
  }

  /** Counts changes. */
  get revision(): number {
    return this.#revision;
  }

  get size(): number {
    return this.#byId.size;
  }

  get(id: string): Credential | undefined {
    return this.#byId.get(id)?.credential;
  }

  *all(): IterableIterator<Credential> {
    for (const { credential } of this.#byId.values()) yield credential;
  }

  /** What may be shown, of one endpoint or of all. */
  views(endpoint?: string): readonly CredentialView[] {
    const readable = [...this.all()].map(viewCredential);
    const unreadable = [...this.#unreadable].map(([id, owner]) => unreadableView(id, owner));
    return [...readable, ...unreadable].filter(
      (view) => endpoint === undefined || view.endpoint === endpoint,
    );
  }

  endpointOf(identity: Identity): string | undefined {
    const id = credentialIdOf(identity);
    return id === undefined ? undefined : this.get(id)?.endpoint;
  }

  /** The endpoint of a credential, readable or not. */
  ownerOf(id: string): string | undefined {
    return this.get(id)?.endpoint ?? this.#unreadable.get(id);
  }

  /** Whether the endpoint has a credential, readable or not. */
  isSecured(endpoint: string): boolean {
    return this.#byEndpoint.has(endpoint);
  }

  /** Whether there is a credential of this id that cannot be read. */
  isUnreadable(id: string): boolean {
    return this.#unreadable.has(id);
  }

  /** Tells the credential of this identity from those it had before. */
  generationOf(identity: Identity): Generation | undefined {
    const id = credentialIdOf(identity);
    return id === undefined ? undefined : this.#byId.get(id)?.generation;
  }

  /** Whether what was proven by a credential of this generation is still good. */
  vouches(identity: Identity, generation: Generation): "good" | "gone" | "unreadable" {
    const id = credentialIdOf(identity);
    if (id === undefined) return "gone";
    if (this.#byId.get(id)?.generation === generation) return "good";
    return this.#unreadable.has(id) ? "unreadable" : "gone";
  }

  /** Whether the credential of this id is the one of this generation. */
  isOf(id: string, generation: Generation): boolean {
    return this.#byId.get(id)?.generation === generation;
  }

  /** The key behind a PSK identity. */
  pskOf(identity: string): Uint8Array | undefined {
    const found = this.get(`psk:${identity}`);
    return found?.kind === "psk" ? found.key : undefined;
  }

  /**
   * Adding or replacing one; the same once more stays what it is. Nothing has changed until `take`.
   *
   * @throws UsageError if its public part is another endpoint's
   */
  adding(credential: Credential): BookChange & { readonly isKnown: boolean } {
    checkCredential(credential);
    const id = credentialId(credential);
    const before = this.#byId.get(id);
    const owner = this.ownerOf(id);
    if (owner !== undefined && owner !== credential.endpoint && !this.#guessed.has(id)) {
      throw new UsageError(`${id} belongs to the endpoint ${owner} already`);
    }
    const isKnown = before !== undefined && sameCredential(before.credential, credential);
    const generation = isKnown ? before.generation : this.#nextGeneration();
    const sealed = this.#sealer.seal(encode({ credential, generation }), context(id));
    return {
      isKnown,
      rows: [
        { table: CREDENTIAL_TABLE, key: id, value: sealed },
        { table: SECURED_TABLE, key: id, value: encodeOwner(credential.endpoint) },
      ],
      take: () => this.#put(id, { credential, generation }),
    };
  }

  /** Removing one; undefined if there is none such. Nothing has changed until `take`. */
  removing(id: string): BookChange | undefined {
    const endpoint = this.ownerOf(id);
    if (endpoint === undefined) return undefined;
    return {
      rows: [
        { table: CREDENTIAL_TABLE, key: id, value: undefined },
        { table: SECURED_TABLE, key: id, value: undefined },
      ],
      take: () => this.#drop(id, endpoint),
    };
  }

  /** One record of the store. @throws FormatError where it cannot be read */
  restore({ key, value }: StoredRecord): void {
    const entry = decode(this.#sealer.open(value, context(key)));
    if (credentialId(entry.credential) !== key)
      throw new FormatError(`${credentialId(entry.credential)} under the key of another`);
    this.#put(key, entry);
  }

  /**
   * A record that names a credential's endpoint. Where the credential is not there it cannot be read: the endpoint is locked.
   * All readable ones come first.
   */
  restoreOwner({ key, value }: StoredRecord): void {
    const endpoint = decodeOwner(value);
    if (!this.#byId.has(key)) this.#lock(key, endpoint);
  }

  /**
   * A credential that cannot be read, known by its id alone. Returns what must be stored to know its endpoint from now on: nothing
   * where nobody knows it. Then the endpoint of its own name is locked, and whoever adds it again says whose it is.
   */
  lock(id: string, endpoint: string | undefined): readonly StoreChange[] {
    if (endpoint === undefined) this.#guessed.add(id);
    if (!this.#unreadable.has(id)) this.#lock(id, endpoint ?? id.slice(id.indexOf(":") + 1));
    if (endpoint === undefined) return [];
    return [{ table: SECURED_TABLE, key: id, value: encodeOwner(endpoint) }];
  }

  /** The owners of those credentials that `named` does not have. */
  owners(named: ReadonlySet<string>): readonly StoreChange[] {
    const missing = [...this.#byId].filter(([id]) => !named.has(id));
    return missing.map(([id, { credential }]) => {
      return { table: SECURED_TABLE, key: id, value: encodeOwner(credential.endpoint) };
    });
  }

  #put(id: string, entry: Entry): void {
    const before = this.ownerOf(id);
    if (before !== undefined) this.#drop(id, before);
    this.#count(entry.credential.endpoint, 1);
    this.#byId.set(id, entry);
    this.#revision += 1;
  }

  #lock(id: string, endpoint: string): void {
    this.#count(endpoint, 1);
    this.#unreadable.set(id, endpoint);
    this.#revision += 1;
  }

  #drop(id: string, endpoint: string): void {
    this.#byId.delete(id);
    this.#unreadable.delete(id);
    this.#guessed.delete(id);
    this.#revision += 1;
    this.#count(endpoint, -1);
  }

  #count(endpoint: string, by: 1 | -1): void {
    const left = (this.#byEndpoint.get(endpoint) ?? 0) + by;
    if (left === 0) this.#byEndpoint.delete(endpoint);
    else this.#byEndpoint.set(endpoint, left);
  }
}

function unreadableView(id: string, endpoint: string): CredentialView {
  const [kind = ""] = id.split(":", 1);
  const subject = id.slice(kind.length + 1);
  return { id, kind: kind as Credential["kind"], endpoint, subject, unreadable: true };
}

/** layout 1 | generation 7 | the credential's own record */
function encode({ credential, generation }: Entry): Uint8Array {
  return new Writer(160).u8(LAYOUT).u56(generation).append(encodeCredential(credential)).bytes();
}

function decode(record: Uint8Array): Entry {
  // Records of the first layout begin with 1, that of their credential, and know no generations.
  if (record[0] !== LAYOUT) return { credential: decodeCredential(record), generation: 0 };
  const r = new Reader(record);
  r.u8();
  const generation = r.u56();
  return { credential: decodeCredential(r.rest()), generation };
}

function encodeOwner(endpoint: string): Uint8Array {
  const w = new Writer(64).u8(OWNER_LAYOUT);
  return w.prefixed(2, (inner) => inner.append(utf8(endpoint))).bytes();
}

function decodeOwner(record: Uint8Array): string {
  const r = new Reader(record);
  if (r.u8() !== OWNER_LAYOUT) throw new FormatError("record of an owner of an unknown layout");
  const endpoint = fromUtf8(r.take(r.u16()));
  r.end("the record of an owner");
  return endpoint;
}

function context(id: string): string {
  return `credential/${id}`;
}

export const CREDENTIAL_TABLE = "credential";
/** Which endpoint a credential belongs to, by the credential's id. */
export const SECURED_TABLE = "secured";
const LAYOUT = 2;
const OWNER_LAYOUT = 1;
