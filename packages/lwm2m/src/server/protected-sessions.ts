import {
  FormatError,
  Ledger,
  Reader,
  SelfKeyed,
  UsageError,
  Writer,
  byNumber,
  fromUtf8,
  utf8,
  type Instant,
  type SessionId,
  type StoreChange,
} from "@godwit/base";
import type { Generation } from "@godwit/dtls";
import type { ProtectionLayer } from "../protection-layer.ts";
import { credentialId, type Credential } from "./credential.ts";
import type { StoredRecord } from "./events.ts";
import { FIRST_PROTECTED_SESSION, FIRST_SECURED_SESSION } from "./numbers.ts";

export type OscoreCredential = Extract<Credential, { kind: "oscore" }>;

/** OSCORE as the stack takes it: the machine, and how a credential of ours is told to it. */
export type ServerProtection<C = unknown> = {
  readonly layer: ProtectionLayer<C>;
  /** Throws UsageError for a credential that cannot be used. */
  readonly credentialOf: (credential: OscoreCredential) => C;
  /** Where the layer's store outputs go. */
  readonly table: string;
};

type ProtectedSession = {
  readonly session: SessionId;
  readonly credentialId: string;
  /** Of the credential. */
  readonly generation: Generation;
  carrier: SessionId | undefined;
  readonly ledger: Ledger;
};

/** The sessions of OSCORE credentials: one each, for as long as the credential lives, wherever its device is. */
export class ProtectedSessions<C> {
  readonly layer: ProtectionLayer<C>;
  readonly #protection: ServerProtection<C>;
  readonly #sessions = new SelfKeyed(BY_SESSION);
  readonly #byCredential = new Map<string, ProtectedSession>();
  /** Who travels in a carrier: mostly one. */
  readonly #carriers = new Map<SessionId, ProtectedSession | Set<ProtectedSession>>();
  readonly #takeNumber: () => SessionId | undefined;

  /** `takeNumber`: see `Numbers`. */
  constructor(protection: ServerProtection<C>, takeNumber: () => SessionId | undefined) {
    this.#protection = protection;
    this.#takeNumber = takeNumber;
    this.layer = protection.layer;
  }

  ledgerOf(session: SessionId): Ledger | undefined {
    return this.#sessions.get(session)?.ledger;
  }

  has(session: SessionId): boolean {
    return this.#sessions.get(session) !== undefined;
  }

  isCarrier(session: SessionId): boolean {
    return this.#carriers.has(session);
  }

  /** What carries the session, and no other. */
  carrierAloneOf(session: SessionId): SessionId | undefined {
    const found = this.#sessions.get(session);
    const carrier = found?.carrier;
    return carrier !== undefined && this.#carriers.get(carrier) === found ? carrier : undefined;
  }

  /** Those that travel in a carrier. */
  ridersOf(carrier: SessionId): readonly SessionId[] {
    const there = this.#carriers.get(carrier);
    if (there === undefined) return NOBODY;
    return there instanceof Set ? [...there].map(({ session }) => session) : [there.session];
  }

  sessionOf(credential: string): SessionId | undefined {
    return this.#byCredential.get(credential)?.session;
  }

  /** @throws UsageError that says why the credential cannot be used */
  check(credential: OscoreCredential): void {
    void this.#protection.credentialOf(credential);
  }

  /** A credential that was never used. Returns its session. */
  add(credential: OscoreCredential, generation: Generation, now: Instant): SessionId {
    const session = this.#number();
    const input = { session, credential: this.#protection.credentialOf(credential) };
    this.layer.handle({ type: "add", ...input }, now);
    this.#put(session, credential, generation, undefined);
    return session;
  }

  /**
   * A credential whose session is lost. It may have been used: keys come by Appendix B.2 where that is possible, and a fixed
   * context cannot be used any more. Returns its session.
   */
  addUsed(credential: OscoreCredential, generation: Generation, now: Instant): SessionId {
    const session = this.#number();
    this.#restoreLayer({ session, credential, carrier: undefined }, undefined, true, now);
    this.#put(session, credential, generation, undefined);
    return session;
  }

  /**
   * The credential is revoked, and with it whatever was derived from it. `carrier`: the one that nobody travels in any more.
   */
  remove(
    credential: string,
    now: Instant,
  ): { readonly session: SessionId; readonly carrier: SessionId | undefined } | undefined {
    const found = this.#byCredential.get(credential);
    if (found === undefined) return undefined;
    const { session, carrier } = found;
    this.layer.handle({ type: "remove", session }, now);
    this.#sessions.delete(found);
    this.#byCredential.delete(credential);
    const free = carrier !== undefined && this.#drop(found, carrier);
    return { session, carrier: free ? carrier : undefined };
  }

  /** The device is at another carrier. Returns the one that nobody travels in any more. */
  moved(session: SessionId, carrier: SessionId): SessionId | undefined {
    const found = this.#sessions.get(session);
    if (found === undefined || found.carrier === carrier) return undefined;
    if (found.carrier !== undefined) found.ledger.addressChanges += 1;
    return this.#board(found, carrier);
  }

  /** The device is where it was, and that path is another carrier's now. Returns the one that nobody travels in any more. */
  relocate(session: SessionId, carrier: SessionId, now: Instant): SessionId | undefined {
    const found = this.#sessions.get(session);
    if (found === undefined || found.carrier === carrier) return undefined;
    this.layer.handle({ type: "relocate", session, carrier }, now);
    return this.#board(found, carrier);
  }

  /** What must be stored of a session. */
  change(session: SessionId): StoreChange {
    const found = this.#sessions.get(session);
    const value = found && encode(found);
    return { table: PROTECTED_TABLE, key: String(session), value };
  }

  /**
   * The session of a stored record, with the record that the layer left of it. `trusted` false: it may be older than what was
   * sent. `carrier`: where its device is, if that is known.
   *
   * @throws whatever the layer has against it; nothing has changed then
   */
  restore(
    { session, credential, generation, carrier }: RestoredSession,
    record: Uint8Array | undefined,
    trusted: boolean,
    now: Instant,
  ): void {
    this.#restoreLayer({ session, credential, carrier }, record, trusted, now);
    this.#put(session, credential, generation, carrier);
  }

  /** What must be stored before records of an older state can be believed again: that there are none. */
  forgetting(): readonly StoreChange[] {
    const { table } = this.#protection;
    return this.#sessions.values().map(({ session }) => {
      return { table, key: String(session), value: undefined };
    });
  }

  #restoreLayer(
    { session, credential, carrier }: Pick<RestoredSession, "session" | "credential" | "carrier">,
    record: Uint8Array | undefined,
    trusted: boolean,
    now: Instant,
  ): void {
    const own = this.#protection.credentialOf(credential);
    const input = { session, credential: own, record, trusted };
    const by = carrier === undefined ? {} : { carrier };
    this.layer.handle({ type: "restore", ...input, ...by }, now);
  }

  #put(
    session: SessionId,
    credential: OscoreCredential,
    generation: Generation,
    carrier: SessionId | undefined,
  ): void {
    const id = credentialId(credential);
    const one = { session, credentialId: id, generation, carrier, ledger: new Ledger() };
    this.#sessions.set(one);
    this.#byCredential.set(id, one);
    if (carrier !== undefined) this.#join(one, carrier);
  }

  #number(): SessionId {
    const session = this.#takeNumber();
    if (session === undefined) throw new UsageError("no number is left for a protected session");
    return session;
  }

  #board(one: ProtectedSession, carrier: SessionId): SessionId | undefined {
    const before = one.carrier;
    one.carrier = carrier;
    this.#join(one, carrier);
    return before !== undefined && this.#drop(one, before) ? before : undefined;
  }

  #join(one: ProtectedSession, carrier: SessionId): void {
    const there = this.#carriers.get(carrier);
    if (there === undefined) this.#carriers.set(carrier, one);
    else if (there instanceof Set) there.add(one);
    else this.#carriers.set(carrier, new Set([there, one]));
  }

  /** Whether nobody travels there any more. */
  #drop(one: ProtectedSession, carrier: SessionId): boolean {
    const there = this.#carriers.get(carrier);
    if (there instanceof Set) {
      there.delete(one);
      const [last] = there;
      if (there.size === 1) this.#carriers.set(carrier, last!); // there is one
      return false;
    }
    if (there === one) this.#carriers.delete(carrier);
    return true;
  }
}

/** layout 1 | generation 7 | carrier 7, 0 for none | (length 2, the credential's id) */
function encode({ credentialId: id, generation, carrier }: ProtectedSession): Uint8Array {
  const w = new Writer(64)
    .u8(LAYOUT)
    .u56(generation)
    .u56(carrier ?? 0);
  return w.prefixed(2, (inner) => inner.append(utf8(id))).bytes();
}

/** What a stored record says. @throws FormatError */
export function decodeProtected({ key, value }: StoredRecord): ProtectedRecord {
  const session = Number(key);
  const isOurs = session >= FIRST_PROTECTED_SESSION && session < FIRST_SECURED_SESSION;
  if (!isOurs || String(session) !== key) throw new FormatError(`no protected session: ${key}`);
  const r = new Reader(value);
  const layout = r.u8();
  if (layout === 1) return { session, ...decodeFirst(r) };
  if (layout !== LAYOUT) throw new FormatError(`session record of unknown layout ${layout}`);
  const generation = r.u56();
  const carrier = r.u56();
  const credential = fromUtf8(r.take(r.u16()));
  r.end("the session record");
  return { session, credential, generation, carrier: carrier === 0 ? undefined : carrier };
}

/** The first layout: no generation, and the carrier in digits. */
function decodeFirst(r: Reader): Omit<ProtectedRecord, "session"> {
  const credential = fromUtf8(r.take(r.u16()));
  const carrier = fromUtf8(r.rest());
  if (!/^\d{0,16}$/.test(carrier)) throw new FormatError("session record without a number");
  return { credential, generation: 0, carrier: carrier === "" ? undefined : Number(carrier) };
}

export type ProtectedRecord = {
  readonly session: SessionId;
  /** Its id. */
  readonly credential: string;
  readonly generation: Generation;
  readonly carrier: SessionId | undefined;
};

export type RestoredSession = Omit<ProtectedRecord, "credential"> & {
  readonly credential: OscoreCredential;
};

const NOBODY: readonly SessionId[] = [];
const BY_SESSION = byNumber(({ session }: ProtectedSession) => session);
/** The sessions of protected credentials, and where they were last. */
export const PROTECTED_TABLE = "protected";
const LAYOUT = 2;
