import { EMPTY, concat, toHex, type Instant, type SessionId } from "@godwit/base";
import { Code, request as coapRequest, type Request, type Response } from "@godwit/coap";
import { ClientExchange, type Association } from "./association.ts";
import { byteString, unwrapByteString } from "./cbor.ts";
import type { LayerCore } from "./layer-core.ts";
import type { DropReason, ProtectedRequest, ResponseOutcome } from "./layer-events.ts";
import type { OscoreOption } from "./oscore-option.ts";
import {
  oscoreOptionOf,
  protectRequest,
  verifyResponse,
  type RequestBinding,
  type ResponseFault,
} from "./protection.ts";
import { SEQUENCE_LIMIT, type SecurityContext } from "./security-context.ts";
import type { SequenceKeeper } from "./sequence-keeper.ts";

//   no usable keys ──protect──> request 1 under R1 ──response 1──> request 2 under R2 || R3 ──response 2──> in use
//                               (others wait)                      (others use the new keys, too)
//
// RFC 8613 B.2, seen from the client. The old keys stay in use until response 2 verifies. The application's request is
// what request 2 carries; request 1 is a probe. Each response may ask for the same: a server that lost its state.

/** Sends requests and takes their responses. */
export class ClientRole {
  readonly #core: LayerCore;
  readonly #keeper: SequenceKeeper;
  /** Observations by token: their notifications may come from anywhere. */
  readonly #observations = new Map<string, ClientExchange[]>();

  constructor(core: LayerCore, keeper: SequenceKeeper) {
    this.#core = core;
    this.#keeper = keeper;
  }

  protect(session: SessionId, request: Request, now: Instant): ProtectedRequest {
    const association = this.#core.directory.find(session);
    if (association === undefined) return { kind: "failed", reason: "unknownSession" };
    if (association.carrier === undefined) return { kind: "failed", reason: "noCarrier" };
    if (association.probe !== undefined) return this.#wait(association);
    const context = this.#usable(association);
    if (context === undefined) {
      if (!association.negotiates || !association.initiates)
        return {
          kind: "failed",
          reason: association.active === undefined || association.stale ? "noContext" : "exhausted",
        };
      const probe = this.#probe(association, request);
      const exchange = new ClientExchange(association, request, probe.binding, true);
      association.probe = exchange;
      return { kind: "send", carrier: association.carrier, request: probe.request, exchange };
    }
    const sent = protectRequest(context, request, this.#kidContext(association, context));
    if (sent === undefined) {
      if (context.sequence >= SEQUENCE_LIMIT) return { kind: "failed", reason: "exhausted" };
      if (context !== association.active) return { kind: "failed", reason: "sequence" };
      this.#keeper.reserve(association, now);
      return this.#wait(association);
    }
    this.#used(association, context, now);
    const exchange = new ClientExchange(association, request, sent.binding, false);
    return { kind: "send", carrier: association.carrier, request: sent.request, exchange };
  }

  /** `carrier`: by which the response came, if the path is to follow it. */
  unprotect(
    exchange: ClientExchange,
    outer: Response,
    carrier: SessionId | undefined,
    now: Instant,
  ): ResponseOutcome {
    const { association, binding } = exchange;
    const { context } = binding;
    if (association.gone || this.#retired(context, now))
      return this.#ignore(exchange, "unexpectedResponse");
    const option = oscoreOptionOf(outer.options);
    if (option === undefined) return this.#unprotected(exchange, outer.code, now);
    if (option === "bad") return this.#ignore(exchange, "badOptionInResponse");
    if (option.kidContext !== undefined && association.negotiates) {
      const outcome = this.#response1(exchange, outer, option, option.kidContext, now);
      if (outcome !== undefined) return outcome;
    }
    if (exchange.probing) return this.#ignore(exchange, "forgedResponse");
    const taken = verifyResponse(binding, context, outer, option);
    if (taken.kind === "ignored") {
      if (taken.reason === "forged") {
        context.forgeries += 1;
        this.#core.wear(association, context);
      }
      return this.#ignore(exchange, IGNORED[taken.reason]);
    }
    this.#confirm(association, context, now);
    if (exchange.triedIdContext && !association.sendIdContext && context === association.active) {
      association.sendIdContext = true;
      this.#keeper.note(association);
    }
    if (taken.piv !== undefined && context.heard(taken.piv) && carrier !== undefined)
      this.#core.follow(association, carrier, taken.piv, false);
    if (binding.done) this.ended(exchange);
    return { kind: "response", response: taken.response, notification: taken.notification };
  }

  /** No response will be waited for. */
  abandon(exchange: ClientExchange): void {
    const { association, binding } = exchange;
    this.ended(exchange);
    binding.done = true;
    if (association.probe === exchange) {
      association.probe = undefined;
      this.#core.ready(association);
    }
    if (binding.context === association.pending) association.pending = undefined;
  }

  // ── observations ──

  observing(exchange: ClientExchange, token: Uint8Array): boolean {
    if (this.#observations.size >= this.#core.tuning.maxObservations) return false;
    this.ended(exchange);
    const key = toHex(token);
    exchange.token = key;
    const there = this.#observations.get(key);
    if (there === undefined) this.#observations.set(key, [exchange]);
    else there.push(exchange);
    return true;
  }

  ended(exchange: ClientExchange): void {
    if (exchange.token === undefined) return;
    const rest = (this.#observations.get(exchange.token) ?? []).filter(
      (other) => other !== exchange,
    );
    if (rest.length === 0) this.#observations.delete(exchange.token);
    else this.#observations.set(exchange.token, rest);
    exchange.token = undefined;
  }

  /** Whose notification this is, by trial among those with this token. */
  notified(
    carrier: SessionId,
    token: Uint8Array,
    outer: Response,
    now: Instant,
  ): { readonly exchange: ClientExchange; readonly outcome: ResponseOutcome } | undefined {
    if (oscoreOptionOf(outer.options) === undefined) return undefined;
    const candidates = this.#observations.get(toHex(token)) ?? [];
    for (const exchange of candidates.slice(0, this.#core.tuning.maxTrials)) {
      const outcome = this.unprotect(exchange, outer, carrier, now);
      if (outcome.kind === "response") return { exchange, outcome };
    }
    return undefined;
  }

  /** The session is removed. */
  removed(association: Association): void {
    for (const exchanges of this.#observations.values())
      for (const exchange of exchanges)
        if (exchange.association === association) this.ended(exchange);
  }

  /** The peer has used keys that we proposed: they are in use. */
  #confirm(association: Association, context: SecurityContext, now: Instant): void {
    if (context === association.active || context.retiredAt !== undefined) return;
    if (association.pending !== context && association.pending !== undefined) return; // given up for others
    this.confirm(association, context, now);
  }

  confirm(association: Association, context: SecurityContext, now: Instant): void {
    this.#core.establish(association, context, "us", now);
    this.#keeper.note(association);
  }

  // ── Appendix B.2 ──

  #probe(
    association: Association,
    request: Request,
  ): { request: Request; binding: RequestBinding } {
    const { rng, tuning } = this.#core;
    if (association.renew) association.renewals += 1;
    const r1 = rng.bytes(tuning.nonceLength);
    const content = tuning.firstRequest === "probe" ? EMPTY_GET : request;
    return protectRequest(this.#core.derive(association, r1), content, byteString(r1))!; // a new context has numbers
  }

  /** Undefined if it is none. The nonce is request 1's, byte for byte; a server may also make one under the new keys. */
  #response1(
    exchange: ClientExchange,
    outer: Response,
    option: OscoreOption,
    kidContext: Uint8Array,
    now: Instant,
  ): ResponseOutcome | undefined {
    const { association, binding } = exchange;
    const { rng, tuning } = this.#core;
    const r2 = unwrapByteString(kidContext) ?? kidContext;
    if (r2.length === 0 || r2.length > tuning.maxIdContext || binding.done) return undefined;
    const id2 = concat(r2, binding.context.idContext ?? EMPTY);
    const taken = verifyResponse(binding, this.#core.derive(association, id2), outer, option);
    if (taken.kind === "ignored") return undefined;
    binding.done = false; // it was no answer to the request
    if (taken.response.code !== Code.Unauthorized)
      return this.#ignore(exchange, "malformedResponse");
    if (association.probe === exchange) association.probe = undefined;
    if (association.pending === undefined || association.pending === binding.context) {
      association.pending = this.#core.derive(
        association,
        concat(r2, rng.bytes(tuning.nonceLength)),
      );
      association.pending.bound = tuning.firstStride; // what `confirm` will store
    }
    this.#core.ready(association);
    exchange.rounds += 1;
    if (exchange.rounds > MAX_ROUNDS) return this.#refuse(exchange, Code.Unauthorized);
    return this.#again(exchange, association.pending, now);
  }

  /** An answer that anybody can have sent: a hint that the peer does not know our keys (8.2). */
  #unprotected(exchange: ClientExchange, code: number, now: Instant): ResponseOutcome {
    const { association, binding } = exchange;
    const { context } = binding;
    this.#core.drop(association.session, "unprotectedResponse");
    if (binding.notifications > 0 || binding.done)
      return { kind: "ignored", reason: "unprotectedResponse" };
    const hint = code === Code.Unauthorized || code === Code.BadRequest;
    const current = context === association.active || context === association.pending;
    if (!hint || exchange.probing || !current) return this.#refuse(exchange, code);
    const renewable = association.initiates && association.negotiates;
    // A store may have been put back to an older state unnoticed, and what we sent was a replay: one nonce is enough.
    const isBehind = association.restored && renewable && context === association.active;
    if (
      !isBehind &&
      context === association.active &&
      context.idContext !== undefined &&
      !association.sendIdContext &&
      !exchange.triedIdContext
    ) {
      exchange.triedIdContext = true;
      return this.#again(exchange, context, now);
    }
    if (
      !renewable ||
      exchange.triedRenewal ||
      association.probe !== undefined ||
      association.carrier === undefined
    )
      return this.#refuse(exchange, code);
    exchange.triedRenewal = true;
    exchange.triedIdContext = false;
    if (context === association.pending) association.pending = undefined;
    const { request, binding: next } = this.#probe(association, exchange.request);
    exchange.binding = next;
    exchange.probing = true;
    association.probe = exchange;
    return { kind: "again", carrier: association.carrier, request };
  }

  #again(exchange: ClientExchange, context: SecurityContext, now: Instant): ResponseOutcome {
    const { association } = exchange;
    const kidContext = exchange.triedIdContext
      ? context.idContext
      : this.#kidContext(association, context);
    const sent = protectRequest(context, exchange.request, kidContext);
    if (sent === undefined || association.carrier === undefined)
      return this.#refuse(exchange, Code.Unauthorized);
    this.#used(association, context, now);
    exchange.binding = sent.binding;
    exchange.probing = false;
    return { kind: "again", carrier: association.carrier, request: sent.request };
  }

  /** Wrapped while the peer has not yet used the keys; raw where it cannot do without; else it knows. */
  #kidContext(association: Association, context: SecurityContext): Uint8Array | undefined {
    if (context === association.pending) return byteString(context.idContext ?? EMPTY);
    return association.sendIdContext ? context.idContext : undefined;
  }

  #usable(association: Association): SecurityContext | undefined {
    const { pending, active } = association;
    if (pending !== undefined) return pending;
    if (active === undefined || association.stale || this.#core.spent(active)) return undefined;
    const renew = association.renew && association.initiates && association.negotiates;
    return renew && association.renewals < this.#core.tuning.maxRenewals ? undefined : active;
  }

  #used(association: Association, context: SecurityContext, now: Instant): void {
    this.#keeper.ensure(association, context, now);
    this.#core.wear(association, context);
  }

  #retired(context: SecurityContext, now: Instant): boolean {
    const { retiredAt } = context;
    return retiredAt !== undefined && now - retiredAt > this.#core.tuning.retiredLifetime;
  }

  #wait(association: Association): ProtectedRequest {
    association.waited = true;
    return { kind: "wait" };
  }

  #ignore(exchange: ClientExchange, reason: DropReason): ResponseOutcome {
    this.#core.drop(exchange.association.session, reason);
    return { kind: "ignored", reason };
  }

  #refuse(exchange: ClientExchange, code: number): ResponseOutcome {
    this.abandon(exchange);
    return { kind: "refused", code };
  }
}

const EMPTY_GET = coapRequest(Code.GET);
/** A server that asks for new keys more often than this for one request will not stop. */
const MAX_ROUNDS = 3;
const IGNORED: Readonly<Record<ResponseFault, DropReason>> = {
  unprotected: "unprotectedResponse",
  badOption: "badOptionInResponse",
  forged: "forgedResponse",
  malformed: "malformedResponse",
  replayed: "replayedResponse",
  unexpected: "unexpectedResponse",
};
