import { UsageError, type Instant, type SessionId, type StoreChange } from "@godwit/base";
import type { Endpoint, ExchangeId } from "@godwit/coap";
import { isRaw, type ServerTransports } from "../server-transports.ts";
import { FIRST_PROTECTED_SESSION } from "./numbers.ts";
import { SESSION_TABLE, encodePath } from "./path-records.ts";
import type { ProtectedSessions } from "./protected-sessions.ts";

export type HeldPathsSurroundings = {
  readonly transports: Pick<ServerTransports, "handle" | "pathOf" | "sessionAt" | "connect">;
  readonly endpoint: Pick<Endpoint, "handle">;
  readonly sessions:
    | Pick<
        ProtectedSessions<unknown>,
        "has" | "isCarrier" | "ridersOf" | "moved" | "relocate" | "change"
      >
    | undefined;
  /** A number of a raw session that is in use. */
  readonly passed: (session: SessionId) => void;
  readonly write: (changes: readonly StoreChange[]) => void;
  /** What the transports have to say is heard now. */
  readonly hear: (now: Instant) => void;
};

/**
 * Sessions of plain UDP that something points to: a registration, or sessions of OSCORE that travel there. They are held, and
 * over a restart, too. Whoever was heard last at a path has it: where a NAT gives the address of one device to another, the
 * first stays without a path until it speaks again, and what travels by OSCORE stays with the path, wherever a registration goes.
 */
export class HeldPaths {
  readonly #around: HeldPathsSurroundings;
  /** Those of registrations. */
  readonly #pinned = new Set<SessionId>();
  /** Rows of paths, to be written with what points to them. */
  #changes: StoreChange[] = [];

  constructor(around: HeldPathsSurroundings) {
    this.#around = around;
  }

  /** Whether something points to it. */
  isHeld(session: SessionId): boolean {
    return this.#pinned.has(session) || this.#carries(session);
  }

  /** What has changed since it was asked last, to be written by whoever asks. */
  takeChanges(): readonly StoreChange[] {
    if (this.#changes.length === 0) return NOTHING;
    return this.#changes.splice(0);
  }

  /** A registration points to it. */
  pin(session: SessionId, now: Instant): void {
    const { transports, sessions } = this.#around;
    if (sessions?.has(session)) return;
    // Of a credential that was replaced, or unreadable: its registration waits for the device to come back.
    if (session >= FIRST_PROTECTED_SESSION) return;
    this.#pinned.add(session);
    transports.handle({ type: "pin", session }, now);
    this.#keep(session);
  }

  /** No registration points to it any more. */
  unpin(session: SessionId, now: Instant): void {
    if (this.#pinned.delete(session) && !this.#carries(session)) this.#letGo(session, now);
  }

  /** Its row goes with the next write; the session itself stays. */
  unkeep(session: SessionId): void {
    if (!isRaw(session) || this.#carries(session)) return;
    this.#changes.push({ table: SESSION_TABLE, key: String(session), value: undefined });
  }

  /** Nobody travels in `carrier` any more. */
  release(carrier: SessionId, now: Instant): void {
    if (!this.#pinned.has(carrier)) this.#letGo(carrier, now);
    this.#around.write(this.takeChanges());
  }

  /** The device of a protected session is at another path. */
  follow(session: SessionId, carrier: SessionId, now: Instant): void {
    const left = this.#around.sessions?.moved(session, carrier);
    this.#carry(session, carrier, left, now);
  }

  /** The request came from the peer of `into`, at the path of `from`: where that is another's, it is without a path from now on. */
  rebind(exchange: ExchangeId, from: SessionId, into: SessionId, now: Instant): void {
    const { transports } = this.#around;
    const left = transports.pathOf(into);
    const fromStays = this.isHeld(from);
    const come = this.#ridersOf(from);
    const stay = this.#ridersOf(into);
    transports.handle({ type: "rebind", from, into }, now);
    this.#keep(into);
    this.#adopt(exchange, into, fromStays, now);
    for (const rider of come) this.#relocate(rider, into, now);
    if (fromStays) this.unkeep(from);
    if (stay.length === 0 || left === undefined) return;
    const there = transports.connect(left, now);
    for (const rider of stay) this.#relocate(rider, there, now);
  }

  /** Another peer than the session's is at its path, and is nobody we know: the request is a newcomer's. */
  displace(exchange: ExchangeId, session: SessionId, now: Instant): void {
    const { transports } = this.#around;
    const path = transports.pathOf(session);
    const come = this.#ridersOf(session);
    transports.handle({ type: "displace", session }, now);
    const into = path && transports.sessionAt(path);
    if (into === undefined) throw new UsageError(`session ${session} has no path`);
    this.#adopt(exchange, into, true, now);
    for (const rider of come) this.#relocate(rider, into, now);
    this.unkeep(session);
  }

  #ridersOf(carrier: SessionId): readonly SessionId[] {
    return this.#around.sessions?.ridersOf(carrier) ?? [];
  }

  #carries(session: SessionId): boolean {
    return this.#around.sessions?.isCarrier(session) === true;
  }

  /** The path of a protected session has another number. */
  #relocate(session: SessionId, carrier: SessionId, now: Instant): void {
    const { sessions, endpoint } = this.#around;
    if (sessions === undefined) return;
    const left = sessions.relocate(session, carrier, now);
    endpoint.handle({ type: "moved", session, validated: false }, now);
    this.#carry(session, carrier, left, now);
  }

  /** `left`: a carrier that nobody travels in any more. */
  #carry(session: SessionId, carrier: SessionId, left: SessionId | undefined, now: Instant): void {
    const { sessions, transports, write } = this.#around;
    if (sessions === undefined) return;
    transports.handle({ type: "pin", session: carrier }, now);
    this.#keep(carrier);
    if (left !== undefined && !this.#pinned.has(left)) this.#letGo(left, now);
    write([...this.takeChanges(), sessions.change(session)]);
  }

  #letGo(session: SessionId, now: Instant): void {
    this.#around.transports.handle({ type: "unpin", session }, now);
    this.unkeep(session);
  }

  /** The endpoint must know of the new path before it answers on it. */
  #adopt(exchange: ExchangeId, into: SessionId, fromStays: boolean, now: Instant): void {
    const { endpoint, hear } = this.#around;
    hear(now);
    endpoint.handle({ type: "adopt", exchange, into, fromStays }, now);
  }

  #keep(session: SessionId): void {
    if (!isRaw(session)) return; // DTLS keeps its own
    const { transports, passed } = this.#around;
    const path = transports.pathOf(session);
    if (path === undefined) return this.unkeep(session);
    passed(session);
    const value = encodePath(path);
    this.#changes.push({ table: SESSION_TABLE, key: String(session), value });
  }
}

const NOTHING: readonly StoreChange[] = [];
