import {
  FormatError,
  UsageError,
  earlier,
  unreachable,
  type Instant,
  type Machine,
  type Rng,
  type SessionId,
} from "@godwit/base";
import {
  OptionNumber,
  isRequest,
  optionAt,
  type Request,
  type Response,
  type Stranger,
} from "@godwit/coap";
import { Association, type ClientExchange, type ServerExchange } from "./association.ts";
import { ClientRole } from "./client-role.ts";
import { decodeRecord } from "./context-record.ts";
import { LayerCore } from "./layer-core.ts";
import type {
  Credential,
  DeathReason,
  OscoreInput,
  OscoreOutput,
  ProtectedRequest,
  ProtectedResponse,
  ResponseOutcome,
  UnprotectedRequest,
} from "./layer-events.ts";
import { kidAt } from "./oscore-option.ts";
import { SequenceKeeper } from "./sequence-keeper.ts";
import { ServerRole } from "./server-role.ts";
import type { OscoreTuning } from "./tuning.ts";

//        LwM2M, block-wise, observe          session = OSCORE context
//   ───────────────────────────────────────────────────────────────────────
//    protectRequest      unprotectResponse     this layer, called by the endpoint
//    protectResponse     unprotectRequest      where requests and responses pass
//   ───────────────────────────────────────────────────────────────────────
//        tokens, message ids, CON and ACK,   session = carrier, a path of UDP
//        deduplication, retransmission
//
// RFC 8613 protects requests and responses, not messages: what is retransmitted or said again to a duplicate is the
// bytes that were made once. Blocks and notifications are made above, so each is protected for itself (4.1.3.4.1).
// A context is a session of its own for everything above (its number is the caller's), and tells by `moved` which
// carrier leads to its peer. Several may share a carrier: a gateway's devices.

/** OSCORE for many peers, in both roles. */
export class OscoreLayer implements Machine<OscoreInput, OscoreOutput> {
  readonly #core: LayerCore;
  readonly #keeper: SequenceKeeper;
  readonly #client: ClientRole;
  readonly #server: ServerRole;
  #parked = false;

  /** `rng`: must be the system's generator in production; B.2 stands and falls with it. */
  constructor(tuning: OscoreTuning, rng: Rng) {
    this.#core = new LayerCore(tuning, rng);
    this.#keeper = new SequenceKeeper(this.#core);
    this.#client = new ClientRole(this.#core, this.#keeper);
    this.#server = new ServerRole(this.#core, this.#keeper, this.#client);
  }

  /** MAX_UNFRAGMENTED_SIZE (4.1.3.4.2). */
  get maxUnfragmented(): number {
    return this.#core.tuning.maxUnfragmented;
  }

  /** Sessions that live. */
  get size(): number {
    return this.#core.directory.size;
  }

  get wakeAt(): Instant | undefined {
    const { retries, runs, settles } = this.#core;
    return earlier(retries.next, earlier(runs.next, settles.next));
  }

  /** A request under a kid that nobody has leads to nothing at all: see RequestProtection. */
  strange(datagram: Uint8Array): Stranger | undefined {
    const found = optionAt(datagram, OptionNumber.Oscore);
    if (found < 0 || !isRequest(datagram[1]!)) return undefined; // what has an option has a code
    const from = Math.floor(found / 0x1_0000);
    const length = found % 0x1_0000;
    const kid = kidAt(datagram, from, length);
    if (kid < 0 || this.#core.directory.has(datagram, kid, from + length)) return undefined;
    return { reason: "unknownKid", kid: datagram.subarray(kid, from + length) };
  }

  /** Whether the session is one of ours. */
  knows(session: SessionId): boolean {
    return this.#core.directory.find(session) !== undefined;
  }

  /** The peer is at its present carrier: see the input `validated`. */
  proven(session: SessionId): void {
    const association = this.#core.directory.find(session);
    if (association !== undefined) this.#core.proven(association);
  }

  /** The carrier that leads to the session's peer, as far as known. */
  carrierOf(session: SessionId): SessionId | undefined {
    return this.#core.directory.find(session)?.carrier;
  }

  /** Whether the session has keys that are in use. */
  isEstablished(session: SessionId): boolean {
    const association = this.#core.directory.find(session);
    return association?.active !== undefined && !association.stale;
  }

  // ── at the boundary between requests and messages ──

  /** Protects a request, or one block of it, towards a session (RFC 8613 8.1). Throws UsageError for one protected already. */
  protectRequest(session: SessionId, request: Request, now: Instant): ProtectedRequest {
    if (this.#parked) return { kind: "failed", reason: "sequence" };
    return this.#client.protect(session, request, now);
  }

  /**
   * Verifies a request with an OSCORE option that came by `carrier` (8.2), its outer blocks put together. `ref` names it
   * in `released`, `proven` says that the carrier's path is. Throws UsageError for one without the option.
   */
  unprotectRequest(
    carrier: SessionId,
    outer: Request,
    ref: number,
    now: Instant,
    proven = false,
  ): UnprotectedRequest {
    if (this.#parked) return { kind: "silence", reason: "heldFull" };
    return this.#server.unprotect(carrier, outer, ref, proven, now);
  }

  /**
   * Protects a response or notification (8.3). The first takes the request's nonce, which costs no byte, unless `ownPiv`.
   */
  protectResponse(
    exchange: ServerExchange,
    response: Response,
    now: Instant,
    ownPiv = false,
  ): ProtectedResponse {
    return this.#server.protect(exchange, response, ownPiv, now);
  }

  /** Takes what came under the token of a request of ours, protected or not (8.4). */
  unprotectResponse(
    exchange: ClientExchange,
    outer: Response,
    now: Instant,
    carrier?: SessionId,
  ): ResponseOutcome {
    return this.#client.unprotect(exchange, outer, carrier, now);
  }

  /** The request is given up, or timed out: no response will be handed in. */
  abandon(exchange: ClientExchange): void {
    this.#client.abandon(exchange);
  }

  /** From now on notifications of `exchange` are recognized by `token` on any carrier. False: there are too many. */
  observing(exchange: ClientExchange, token: Uint8Array): boolean {
    return this.#client.observing(exchange, token);
  }

  /**
   * A protected response under a token unknown to its carrier: the notification of a peer whose address changed?
   * Undefined if it is nobody's.
   */
  notified(
    carrier: SessionId,
    token: Uint8Array,
    outer: Response,
    now: Instant,
  ): { readonly exchange: ClientExchange; readonly outcome: ResponseOutcome } | undefined {
    return this.#client.notified(carrier, token, outer, now);
  }

  // ── the machine ──

  handle(input: OscoreInput, now: Instant): void {
    switch (input.type) {
      case "add":
        this.#add(input.session, input.credential, input.carrier, now);
        break;
      case "restore":
        this.#restore(input);
        break;
      case "remove":
        this.#remove(this.#known(input.session), now);
        break;
      case "carrier": {
        const association = this.#known(input.session);
        association.carrier = input.carrier;
        association.anchored = true;
        this.#core.proven(association);
        break;
      }
      case "relocate":
        this.#known(input.session).carrier = input.carrier;
        break;
      case "validated":
        this.#core.proven(this.#known(input.session));
        break;
      case "renew": {
        const association = this.#known(input.session);
        association.renew = association.negotiates;
        association.renewals = 0;
        break;
      }
      case "park":
        this.#parked = true;
        this.#keeper.park(this.#core.directory.values());
        break;
      case "stored":
        this.#stored(input.ticket, input.ok, now);
        break;
      default:
        unreachable(input);
    }
  }

  wake(now: Instant): void {
    for (;;) {
      const association = this.#core.retries.expired(now);
      if (association === undefined) break;
      this.#keeper.reserve(association, now);
    }
    for (;;) {
      const association = this.#core.settles.expired(now);
      if (association === undefined) break;
      this.#keeper.settleWindow(association, now);
    }
    for (;;) {
      const association = this.#core.runs.expired(now);
      if (association === undefined) break;
      const { nonces } = association;
      if (nonces === undefined) continue;
      if (nonces.until > now) this.#core.runs.set(association, nonces.until);
      else association.nonces = undefined;
    }
  }

  poll(): OscoreOutput | undefined {
    return this.#core.outbox.take();
  }

  #add(
    session: SessionId,
    credential: Credential,
    carrier: SessionId | undefined,
    now: Instant,
  ): void {
    const association = this.#associate(session, credential, carrier);
    if (credential.derivation === "negotiated") return;
    const context = this.#core.derive(association, credential.input.idContext);
    context.bound = 0; // until the store knows that numbers are used
    association.active = context;
    this.#keeper.reserve(association, now);
  }

  #restore(input: Extract<OscoreInput, { type: "restore" }>): void {
    const { session, credential, trusted } = input;
    const association = this.#associate(session, credential, input.carrier);
    if (input.record === undefined) {
      if (!association.negotiates) this.#dead(association, "noRecord");
      return;
    }
    try {
      const record = decodeRecord(input.record, association.source.prk);
      if (!trusted && !association.negotiates) {
        this.#dead(association, "restoredBackup");
        return;
      }
      const context = this.#core.derive(association, record.idContext);
      context.sequence = record.bound;
      context.bound = record.bound;
      context.encryptions = record.encryptions;
      if (record.answersRepeat) context.answeredBelow = record.windowBound ?? Infinity;
      association.active = context;
      association.restored = true;
      association.sendIdContext = record.sendIdContext;
      association.windowLost = true;
      association.windowTop = record.windowTop;
      if (this.#core.tuning.maxWindowStride !== undefined) {
        association.lostBelow = record.windowBound;
        context.windowBound = record.windowBound;
        context.windowPromised = record.windowBound ?? 0;
      }
      association.stale = !trusted;
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.#core.drop(session, "corruptRecord");
      this.#dead(association, "corruptRecord");
    }
  }

  #associate(
    session: SessionId,
    credential: Credential,
    carrier: SessionId | undefined,
  ): Association {
    const { firstStride } = this.#core.tuning;
    const association = new Association(session, credential, carrier, firstStride);
    this.#core.directory.add(association);
    return association;
  }

  #dead(association: Association, why: DeathReason): void {
    this.#core.outbox.push({ type: "dead", session: association.session, why });
  }

  #remove(association: Association, now: Instant): void {
    association.gone = true;
    this.#core.directory.remove(association);
    this.#core.retries.stop(association);
    this.#core.runs.stop(association);
    this.#core.settles.stop(association);
    this.#client.removed(association);
    this.#server.release(association, false, now);
    this.#keeper.forget(association);
  }

  #stored(ticket: number, ok: boolean, now: Instant): void {
    const written = this.#keeper.stored(ticket, ok, now);
    if (written === undefined) return;
    const { association, adopting } = written;
    if (ok && adopting !== undefined) this.#core.establish(association, adopting, "peer", now);
    this.#server.release(association, ok, now);
    if (ok) this.#core.ready(association);
  }

  #known(session: SessionId): Association {
    const association = this.#core.directory.find(session);
    if (association === undefined) throw new UsageError(`no session ${session}`);
    return association;
  }
}
