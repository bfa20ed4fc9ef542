import {
  FormatError,
  Ledger,
  Reader,
  SelfKeyed,
  Writer,
  byNumber,
  fromUtf8,
  utf8,
  type Identity,
  type Instant,
  type SessionId,
  type StoreChange,
} from "@godwit/base";
import { FIRST_PROTECTED_SESSION, type ProtectionLayer } from "../protection-layer.ts";
import { credentialId, identityOf, type Credential } from "./credential.ts";
import type { StoredRecord } from "./events.ts";

export type OscoreCredential = Extract<Credential, { kind: "oscore" }>;

/** OSCORE as the stack takes it: the machine, and how a credential of ours is told to it. */
export type ServerProtection<C = unknown> = {
  readonly layer: ProtectionLayer<C>;
  readonly credentialOf: (credential: OscoreCredential) => C;
  /** Where the layer's store outputs go. */
  readonly table: string;
};

type ProtectedSession = {
  readonly session: SessionId;
  readonly credentialId: string;
  carrier: SessionId | undefined;
  readonly ledger: Ledger;
};

/** The sessions of OSCORE credentials: one each, for as long as the credential lives, wherever its device is. */
export class ProtectedSessions<C> {
  readonly layer: ProtectionLayer<C>;
  readonly #protection: ServerProtection<C>;
  readonly #sessions = new SelfKeyed(BY_SESSION);
  readonly #byCredential = new Map<string, ProtectedSession>();
  /** How many of them travel in a carrier. */
  readonly #carriers = new Map<SessionId, number>();
  #next = FIRST_PROTECTED_SESSION;

  constructor(protection: ServerProtection<C>) {
    this.#protection = protection;
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
    const carrier = this.#sessions.get(session)?.carrier;
    return carrier !== undefined && this.#carriers.get(carrier) === 1 ? carrier : undefined;
  }

  sessionOf(credential: string): SessionId | undefined {
    return this.#byCredential.get(credential)?.session;
  }

  /** A credential that was never used. Returns its session. */
  add(credential: OscoreCredential, now: Instant): SessionId {
    const session = this.#next;
    this.#put({
      session,
      credentialId: credentialId(credential),
      carrier: undefined,
      ledger: new Ledger(),
    });
    const input = { session, credential: this.#protection.credentialOf(credential) };
    this.layer.handle({ type: "add", ...input }, now);
    return session;
  }

  /** The credential is revoked, and with it whatever was derived from it. */
  remove(credential: string, now: Instant): SessionId | undefined {
    const found = this.#byCredential.get(credential);
    if (found === undefined) return undefined;
    const { session, carrier } = found;
    this.layer.handle({ type: "remove", session }, now);
    this.#sessions.delete(found);
    this.#byCredential.delete(credential);
    if (carrier !== undefined) this.#drop(carrier);
    return session;
  }

  /** The device is at another carrier. Returns the one that nobody travels in any more. */
  moved(session: SessionId, carrier: SessionId): SessionId | undefined {
    const found = this.#sessions.get(session);
    if (found === undefined || found.carrier === carrier) return undefined;
    const before = found.carrier;
    found.carrier = carrier;
    this.#carriers.set(carrier, (this.#carriers.get(carrier) ?? 0) + 1);
    if (before === undefined) return undefined;
    found.ledger.addressChanges += 1;
    return this.#drop(before) ? before : undefined;
  }

  /** What must be stored of a session. */
  change(session: SessionId): StoreChange {
    const found = this.#sessions.get(session);
    const value = found && encode(found);
    return { table: PROTECTED_TABLE, key: String(session), value };
  }

  /**
   * The sessions of an earlier run. `own`: the layer's records. `trusted` false: they may be older than what was sent.
   * Returns how many records could not be read; calls `opened` for each session.
   */
  restore(
    records: Iterable<StoredRecord>,
    own: Iterable<StoredRecord>,
    find: (credential: string) => Credential | undefined,
    opened: (session: SessionId, identity: Identity) => void,
    trusted: boolean,
    now: Instant,
  ): number {
    let unreadable = 0;
    const contexts = new Map<string, Uint8Array>();
    for (const { key, value } of own) contexts.set(key, value);
    for (const { key, value } of records) {
      try {
        const session = Number(key);
        this.#next = Math.max(this.#next, session + 1);
        const { credential: id, carrier } = decode(value);
        const credential = find(id);
        if (credential?.kind !== "oscore") continue;
        this.#put({ session, credentialId: id, carrier, ledger: new Ledger() });
        if (carrier !== undefined)
          this.#carriers.set(carrier, (this.#carriers.get(carrier) ?? 0) + 1);
        this.layer.handle(
          {
            type: "restore",
            session,
            credential: this.#protection.credentialOf(credential),
            record: contexts.get(key),
            trusted,
            ...(carrier === undefined ? {} : { carrier }),
          },
          now,
        );
        opened(session, identityOf(credential));
      } catch (fault) {
        if (!(fault instanceof FormatError)) throw fault;
        unreadable += 1;
      }
    }
    return unreadable;
  }

  /** What must be stored before records of an older state can be believed again: that there are none. */
  forgetting(): readonly StoreChange[] {
    const { table } = this.#protection;
    return this.#sessions.values().map(({ session }) => {
      return { table, key: String(session), value: undefined };
    });
  }

  #put(session: ProtectedSession): void {
    this.#next = Math.max(this.#next, session.session + 1);
    this.#sessions.set(session);
    this.#byCredential.set(session.credentialId, session);
  }

  /** Whether nobody travels there any more. */
  #drop(carrier: SessionId): boolean {
    const left = (this.#carriers.get(carrier) ?? 1) - 1;
    if (left > 0) this.#carriers.set(carrier, left);
    else this.#carriers.delete(carrier);
    return left <= 0;
  }
}

function encode({ credentialId: id, carrier }: ProtectedSession): Uint8Array {
  const w = new Writer(64).u8(LAYOUT);
  w.prefixed(2, (inner) => inner.append(utf8(id)));
  return w.append(utf8(carrier === undefined ? "" : String(carrier))).bytes();
}

function decode(record: Uint8Array): {
  readonly credential: string;
  readonly carrier: SessionId | undefined;
} {
  const r = new Reader(record);
  if (r.u8() !== LAYOUT) throw new FormatError("session record of an unknown layout");
  const credential = fromUtf8(r.take(r.u16()));
  const carrier = fromUtf8(r.rest());
  if (!/^\d*$/.test(carrier)) throw new FormatError("session record without a number");
  return { credential, carrier: carrier === "" ? undefined : Number(carrier) };
}

const BY_SESSION = byNumber(({ session }: ProtectedSession) => session);
/** The sessions of protected credentials, and where they were last. */
export const PROTECTED_TABLE = "protected";
const LAYOUT = 1;
