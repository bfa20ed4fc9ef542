import { EMPTY, type Instant, type Rng, type StoreChange } from "@godwit/base";
import type { Association } from "./association.ts";
import { ExtensionType } from "./codes.ts";
import type { Host } from "./established.ts";
import { TABLES } from "./events.ts";
import type { ClientHello } from "./handshake/client-hello.ts";
import { findExtension } from "./handshake/extensions.ts";
import { fromLatin1 } from "./latin1.ts";
import type { PendingWrites } from "./pending-writes.ts";
import { type SavedSession, encodeSession } from "./saved-session.ts";
import { SessionCache, sessionStoreKey } from "./sessions.ts";
import { TicketKeys } from "./tickets.ts";
import type { DtlsTuning } from "./tuning.ts";

/** What a server has to resume sessions by: those it remembers, and keys for tickets. Both follow in the store. */
export class Resumption {
  readonly #sessions: SessionCache;
  readonly #tickets: TicketKeys;
  readonly #withTickets: boolean;
  readonly #rng: Rng;
  readonly #host: Pick<Host, "durable" | "seal">;
  readonly #writes: PendingWrites;

  constructor(options: {
    readonly tuning: DtlsTuning;
    readonly rng: Rng;
    readonly tickets: boolean;
    readonly host: Pick<Host, "durable" | "seal">;
    readonly writes: PendingWrites;
  }) {
    const { tuning } = options;
    this.#sessions = new SessionCache(tuning);
    this.#tickets = new TicketKeys(tuning.ticketKeyPeriod, tuning.sessionLifetime);
    this.#withTickets = options.tickets;
    this.#rng = options.rng;
    this.#host = options.host;
    this.#writes = options.writes;
  }

  /** The session that a hello asks for, by ticket or by id. */
  find(hello: ClientHello, now: Instant): SavedSession | undefined {
    const ticket = findExtension(hello.extensions, ExtensionType.sessionTicket) ?? EMPTY;
    if (ticket.length > 0 && this.#withTickets) return this.#tickets.open(ticket, now);
    return this.#sessions.find(hello.sessionId, now);
  }

  sealTicket(session: SavedSession): Uint8Array | undefined {
    return this.#tickets.seal(session, this.#rng);
  }

  /** Remembers a session; `id` is its id as a string, shared with its association. Returns what is to be stored. */
  keep(session: SavedSession, id: string): StoreChange[] {
    const changes = this.#gone(this.#sessions.keep(session, id));
    const value = this.#host.seal(encodeSession(session));
    changes.push({ table: TABLES.session, key: sessionStoreKey(session.id), value });
    return changes;
  }

  /** Forgets every session of an identity, or every expired one. */
  forget(which: { readonly identity: string } | { readonly expiredAt: Instant }): void {
    this.#write(this.#gone(this.#sessions.forget(which)));
  }

  /** A fatal alert forbids to resume the association's session. */
  forgetOf(association: Association): void {
    if (association.sessionId === "") return;
    const id = fromLatin1(association.sessionId);
    this.#sessions.drop(id);
    this.#write(this.#gone([sessionStoreKey(id)]));
  }

  /** Makes a new key for tickets when it is time. */
  rotate(now: Instant): void {
    if (!this.#withTickets) return;
    const packed = this.#tickets.rotate(this.#rng, now);
    if (packed === undefined) return;
    this.#write([{ table: TABLES.ticketKeys, key: "keys", value: this.#host.seal(packed) }]);
  }

  /** As `keep`, from a row of the store. Throws FormatError for a bad one. */
  restoreSession(id: Uint8Array, packed: Uint8Array): void {
    this.#write(this.#gone(this.#sessions.restore(id, packed)));
  }

  restoreTicketKeys(plain: Uint8Array): void {
    this.#tickets.restore(plain);
  }

  #gone(keys: readonly string[]): StoreChange[] {
    return keys.map((key) => ({ table: TABLES.session, key, value: undefined }));
  }

  #write(changes: readonly StoreChange[]): void {
    if (this.#host.durable && changes.length > 0) this.#writes.write(changes);
  }
}
