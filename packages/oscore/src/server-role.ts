import { EMPTY, UsageError, concat, equal, type Instant, type SessionId } from "@godwit/base";
import {
  Code,
  OptionNumber,
  findOption,
  opaqueOption,
  response,
  withoutOption,
  type Request,
  type Response,
} from "@godwit/coap";
import { ServerExchange, type Association } from "./association.ts";
import { byteString, unwrapByteString } from "./cbor.ts";
import type { ClientRole } from "./client-role.ts";
import { EchoMint } from "./echo-mint.ts";
import { IssuedNonces } from "./issued-nonces.ts";
import type { LayerCore } from "./layer-core.ts";
import type { DroppedFrom, ProtectedResponse, UnprotectedRequest } from "./layer-events.ts";
import { encodePiv, type OscoreOption } from "./oscore-option.ts";
import {
  oscoreOptionOf,
  protectResponse,
  unprotectRequest,
  type RequestBinding,
  type VerifiedRequest,
} from "./protection.ts";
import { Refusals, type Refusal } from "./refusals.ts";
import type { SecurityContext } from "./security-context.ts";
import type { SequenceKeeper } from "./sequence-keeper.ts";

//   kid ──> sessions ──> keys in use, by ID Context ──verifies──> window ──> application
//                │                                       │ lost ──> 4.01 with Echo (B.1.2)
//                │                                       │ keys not ours to use ──> response 1 (B.2)
//                └──> R2 || R3 with an R2 of ours ──verifies──> stored ──> keys in use, then as above
//                └──> any other ID Context ──verifies──> response 1, nothing dispatched
//
// RFC 8613 8.2 and B.2. What does not verify changes nothing but counters.

/** A message that came, as far as it is understood. */
type Incoming = {
  readonly carrier: SessionId;
  readonly outer: Request;
  readonly option: OscoreOption;
  readonly ref: number;
  readonly proven: boolean;
};

type Sender = Omit<DroppedFrom, "answered">;

/** Verifies the peer's requests and protects their responses. */
export class ServerRole {
  readonly #core: LayerCore;
  readonly #keeper: SequenceKeeper;
  readonly #client: ClientRole;
  readonly #refusals: Refusals;
  readonly #mint: EchoMint;
  #held = 0;

  constructor(core: LayerCore, keeper: SequenceKeeper, client: ClientRole) {
    this.#core = core;
    this.#keeper = keeper;
    this.#client = client;
    this.#refusals = new Refusals(core.tuning);
    this.#mint = new EchoMint(core.rng, core.tuning.echoLifetime);
  }

  unprotect(
    carrier: SessionId,
    outer: Request,
    ref: number,
    proven: boolean,
    now: Instant,
  ): UnprotectedRequest {
    const option = oscoreOptionOf(outer.options);
    if (option === undefined)
      throw new UsageError("a request without OSCORE is not for this layer");
    if (
      option === "bad" ||
      option.kid === undefined ||
      option.piv === undefined ||
      outer.payload.length === 0
    )
      return this.#refuse(undefined, "badOption", now, { carrier, kid: EMPTY });
    if (outer.payload.length > this.#core.tuning.maxUnfragmented)
      return this.#silence(undefined, "tooLarge");
    const sharing = this.#core.directory.sharing(option.kid);
    if (sharing.length === 0) {
      const from = { carrier, kid: option.kid };
      if (proven) return this.#refuse(undefined, "unknownContext", now, from);
      return this.#silence(undefined, "unknownKid", { ...from, answered: false }); // nothing to gain for who only guesses
    }
    return this.#byTrial(sharing, { carrier, outer, option, ref, proven }, now);
  }

  protect(
    exchange: ServerExchange,
    answer: Response,
    ownPiv: boolean,
    now: Instant,
  ): ProtectedResponse {
    const { association, binding } = exchange;
    const { context } = binding;
    if (association.gone) return { kind: "failed", reason: "unknownSession" };
    const { retiredAt } = context;
    if (retiredAt !== undefined && now - retiredAt > this.#core.tuning.retiredLifetime)
      return { kind: "failed", reason: "retired" };
    if (context.worn) return { kind: "failed", reason: "exhausted" };
    const repeats = binding.piv < context.answeredBelow;
    const outer = protectResponse(binding, answer, { ownPiv: ownPiv || repeats });
    if (outer === undefined) {
      if (context === association.active) this.#keeper.reserve(association, now);
      return { kind: "failed", reason: "sequence" };
    }
    this.#keeper.ensure(association, context, now);
    this.#core.wear(association, context);
    return { kind: "send", response: outer };
  }

  /** A write for this session is done: what waited for it is looked at again, or refused. */
  release(association: Association, ok: boolean, now: Instant): void {
    const { held } = association;
    if (held === undefined) return;
    association.held = undefined;
    this.#held -= held.length;
    for (const { ref, carrier, outer, proven } of held) {
      const result = association.gone
        ? this.#silence(association, "unknownContext")
        : ok
          ? this.unprotect(carrier, outer, ref, proven, now)
          : this.#refuse(association, "unavailable", now);
      if (result.kind !== "held") this.#core.outbox.push({ type: "released", ref, result });
    }
  }

  #byTrial(sharing: readonly Association[], incoming: Incoming, now: Instant): UnprotectedRequest {
    const { outer, option } = incoming;
    const { kidContext } = option;
    let trials = this.#core.tuning.maxTrials;
    const failed: [Association, SecurityContext | undefined][] = [];
    for (const association of sharing) {
      const { active, pending } = association;
      for (const context of [active, pending]) {
        if (context === undefined || !names(kidContext, context) || trials === 0) continue;
        trials -= 1;
        const got = unprotectRequest(context, outer, option);
        if (got !== undefined) return this.#verified(association, context, got, incoming, now);
        failed.push([association, context]);
      }
    }
    if (kidContext !== undefined)
      for (const association of sharing) {
        if (!association.negotiates || trials === 0) continue;
        if (failed.some(([other]) => other === association)) continue; // its ID Context is known here
        trials -= 1;
        const result = this.#negotiate(association, kidContext, incoming, now);
        if (result !== undefined) return result;
        failed.push([association, undefined]);
      }
    for (const [association, context] of failed) {
      if (context === undefined) continue; // keys of the moment
      context.forgeries += 1;
      this.#core.wear(association, context);
    }
    const only = sharing.length === 1 ? sharing[0] : undefined;
    const reason = failed.length > 0 ? "forged" : "unknownContext";
    return this.#refuse(only, reason, now, { carrier: incoming.carrier, kid: option.kid ?? EMPTY });
  }

  #verified(
    association: Association,
    context: SecurityContext,
    got: VerifiedRequest | { readonly malformed: RequestBinding },
    incoming: Incoming,
    now: Instant,
  ): UnprotectedRequest {
    const malformed = "malformed" in got;
    const binding = malformed ? got.malformed : got.binding;
    if (association.stale && context === association.active)
      // its window is unknown, too
      return this.#response1(association, binding, context.idContext ?? EMPTY, now);
    if (!association.windowLost && !context.fresh(binding.piv))
      return this.#duplicate(association, context, binding, incoming, now);
    const { windowLost, windowTop, lostBelow = Infinity } = association;
    const isActive = context === association.active;
    if (windowLost && isActive && windowTop !== undefined)
      return this.#hold(association, incoming, now);
    const isNew = !windowLost || binding.piv >= lostBelow;
    if (isNew && isActive && context.outruns(binding.piv)) {
      this.#keeper.raiseWindow(association, context, binding.piv, now);
      return this.#wait(association, incoming);
    }
    let validated = incoming.proven;
    let request = malformed ? undefined : got.request;
    if (windowLost && isActive && isNew) {
      association.windowLost = false;
      association.unanswered = 0;
      context.window.raise(lostBelow - 1);
      context.window.accept(binding.piv);
    } else if (windowLost && isActive) {
      const echo = request && findOption(request.options, OptionNumber.Echo);
      const returned = echo && this.#echoedBy(association, incoming.carrier, echo.value, now);
      if (returned === undefined) return this.#unanswered(association, binding, incoming, now);
      request = { ...request!, options: withoutOption(request!.options, OptionNumber.Echo) }; // it had the Echo
      validated ||= returned === incoming.carrier;
      association.windowLost = false;
      association.unanswered = 0;
      context.window.raise(binding.piv); // B.1.2: the lower limit
      context.answeredBelow = Math.max(context.answeredBelow, lostBelow);
    } else {
      context.window.accept(binding.piv);
    }
    if (context === association.pending) this.#client.confirm(association, context, now);
    this.#keeper.raiseWindow(association, context, binding.piv, now);
    if (context.heard(binding.piv))
      this.#core.follow(association, incoming.carrier, binding.piv, validated);
    else if (isActive && this.#isElsewhere(association, incoming)) {
      const echo = request && findOption(request.options, OptionNumber.Echo);
      const isEcho =
        echo && this.#mint.verify(association.session, incoming.carrier, echo.value, now);
      if (request !== undefined && isEcho === true) {
        request = { ...request, options: withoutOption(request.options, OptionNumber.Echo) };
        validated = true;
        this.#core.follow(association, incoming.carrier, binding.piv, validated);
      } else if (association.negotiates && !association.initiates)
        return this.#response1(association, binding, context.idContext ?? EMPTY, now);
      else if (association.challenged !== incoming.carrier)
        return this.#challenge(association, binding, incoming, now);
    }
    if (request === undefined) {
      this.#core.drop(association.session, "malformed");
      return this.#reply(association, binding, response(Code.BadRequest), now);
    }
    if (this.#wantsKeys(association, context)) {
      association.renewals += 1;
      return this.#response1(association, binding, context.idContext ?? EMPTY, now);
    }
    const exchange = new ServerExchange(association, binding);
    return { kind: "request", session: association.session, request, exchange, validated };
  }

  /**
   * A new message with an older number than what came by the present path: somebody passes it on late, or the device was put
   * back to an old state. The path does not follow it; the device is asked to show that it is there. Who cannot is served, once asked.
   */
  #isElsewhere({ carrier, anchored }: Association, incoming: Incoming): boolean {
    return carrier !== undefined && carrier !== incoming.carrier && !anchored;
  }

  /**
   * By which carrier the Echo was sent that is returned, undefined for none of ours. Only that one is proven by it: who is on the
   * path may hold the answer back and send it by another.
   */
  #echoedBy(
    { session, challenged }: Association,
    carrier: SessionId,
    echo: Uint8Array,
    now: Instant,
  ): SessionId | undefined {
    if (this.#mint.verify(session, carrier, echo, now)) return carrier;
    if (challenged === undefined || !this.#mint.verify(session, challenged, echo, now)) {
      return undefined;
    }
    return challenged;
  }

  /**
   * The same message again, or another with a number used before. The caller has the answer to the former, if it still has
   * it: a device repeats its request by a new path when the old one is gone. The path follows neither.
   */
  #duplicate(
    association: Association,
    context: SecurityContext,
    { piv }: RequestBinding,
    { carrier }: Incoming,
    now: Instant,
  ): UnprotectedRequest {
    const { session, movedBy, provenCarrier } = association;
    if (context === association.active && piv === movedBy && carrier === provenCarrier) {
      // Somebody copied the message and was faster: the original comes from where the peer was proven to be.
      this.#core.drop(session, "pathRace");
      this.#core.follow(association, carrier, piv, true);
    }
    const was = association.carrier;
    const refusal = this.#refuse(association, "replayed", now);
    return {
      kind: "duplicate",
      session,
      carrier: was,
      refusal: refusal.kind === "reply" ? refusal.response : undefined,
    };
  }

  /**
   * The window is lost, and the request brings no Echo back: it is asked for one. A peer that does not return it would be
   * locked out for good, so where keys can be negotiated they are made anew: with our next request if it is ours to begin,
   * else by every other answer (B.2 step 2). In turn, because the requests may be replays of what a peer once sent that
   * knows the Echo alone; not before two were in vain, because who was killed before it could return one will do so.
   */
  #unanswered(
    association: Association,
    binding: RequestBinding,
    incoming: Incoming,
    now: Instant,
  ): UnprotectedRequest {
    const nth = association.unanswered;
    const inVain = nth >= PATIENCE && association.negotiates;
    if (inVain && !association.initiates && (nth - PATIENCE) % 2 === 0) {
      association.unanswered += 1;
      return this.#response1(association, binding, binding.context.idContext ?? EMPTY, now);
    }
    const result = this.#challenge(association, binding, incoming, now);
    if (result.kind === "held") return result;
    association.unanswered += 1;
    if (inVain && association.initiates) association.renew = true;
    return result;
  }

  #challenge(
    association: Association,
    binding: RequestBinding,
    incoming: Incoming,
    now: Instant,
  ): UnprotectedRequest {
    const { session } = association;
    if (binding.context.sequence >= binding.context.bound)
      return this.#hold(association, incoming, now);
    const echo = opaqueOption(OptionNumber.Echo, this.#mint.make(session, incoming.carrier, now));
    association.challenged = incoming.carrier;
    const answer = response(Code.Unauthorized, { options: [echo] });
    return this.#reply(association, binding, answer, now, true);
  }

  /** An answer of the layer itself, protected. */
  #reply(
    association: Association,
    binding: RequestBinding,
    answer: Response,
    now: Instant,
    ownPiv = false,
  ): UnprotectedRequest {
    const made = this.protect(new ServerExchange(association, binding), answer, ownPiv, now);
    if (made.kind === "failed") return this.#refuse(association, "unavailable", now);
    return { kind: "reply", session: association.session, response: made.response };
  }

  // ── Appendix B.2 ──

  #negotiate(
    association: Association,
    kidContext: Uint8Array,
    incoming: Incoming,
    now: Instant,
  ): UnprotectedRequest | undefined {
    const { outer, option } = incoming;
    const wrapped = unwrapByteString(kidContext);
    const idContext = wrapped ?? kidContext; // raw: from peers older than the wrapping, or one whose keys we lost
    if (idContext.length > this.#core.tuning.maxIdContext) return undefined;
    if (association.adopting !== undefined && equal(association.adopting.idContext!, idContext))
      // it has one: R2 || R3
      return this.#hold(association, incoming, now);
    const context = this.#core.derive(association, idContext);
    const got = unprotectRequest(context, outer, option);
    if (got === undefined) return undefined;
    const binding = "malformed" in got ? got.malformed : got.binding;
    if (association.nonces?.begins(idContext, now) !== true)
      return this.#response1(association, binding, idContext, now);
    if (association.adopting !== undefined || this.#oursGoesFirst(association))
      return this.#refuse(association, "unavailable", now);
    this.#keeper.adopt(association, context);
    return this.#hold(association, incoming, now);
  }

  /** 4.01 under keys of R2 || ID1, with the literal nonce of the request: the only form every client takes. */
  #response1(
    association: Association,
    binding: RequestBinding,
    id1: Uint8Array,
    now: Instant,
  ): UnprotectedRequest {
    const nonces = (association.nonces ??= new IssuedNonces(this.#core.tuning, this.#core.rng));
    const r2 = nonces.issue(id1, encodePiv(binding.piv), now);
    this.#core.runs.set(association, nonces.until);
    const answer = protectResponse(binding, response(Code.Unauthorized), {
      context: this.#core.derive(association, concat(r2, id1)),
      kidContext: byteString(r2),
    })!; // it takes no sequence number
    return { kind: "reply", session: association.session, response: answer };
  }

  #wantsKeys(association: Association, context: SecurityContext): boolean {
    return (
      association.renew &&
      association.negotiates &&
      !association.initiates &&
      context === association.active &&
      (association.renewals < this.#core.tuning.maxRenewals || this.#core.spent(context))
    );
  }

  /** B.2.1: both ends began at once. The greater Sender ID goes on, the other yields. */
  #oursGoesFirst({ probe, pending, source }: Association): boolean {
    return (
      (probe !== undefined || pending !== undefined) && greater(source.senderId, source.recipientId)
    );
  }

  // ── what does not get through ──

  #hold(association: Association, incoming: Incoming, now: Instant): UnprotectedRequest {
    const result = this.#wait(association, incoming);
    if (result.kind === "held" && association.adopting === undefined)
      this.#keeper.reserve(association, now);
    return result;
  }

  #wait(association: Association, incoming: Incoming): UnprotectedRequest {
    const { maxHeld, maxHeldPerSession } = this.#core.tuning;
    const held = (association.held ??= []);
    if (held.length >= maxHeldPerSession || this.#held >= maxHeld)
      return this.#silence(association, "heldFull");
    const { ref, carrier, outer, proven } = incoming;
    held.push({ ref, carrier, proven, outer: copied(outer) });
    this.#held += 1;
    return { kind: "held" };
  }

  #refuse(
    association: Association | undefined,
    refusal: Refusal,
    now: Instant,
    from?: Sender,
  ): UnprotectedRequest {
    const session = association?.session;
    const answer = this.#refusals.answer(refusal, now);
    const told = from && { ...from, answered: answer !== undefined };
    if (refusal !== "unavailable") this.#core.drop(session, refusal, told);
    // What does not verify is nobody's, whatever it says: the answer goes where it came from.
    const whose = UNVERIFIED.has(refusal) ? undefined : session;
    if (answer !== undefined) return { kind: "reply", session: whose, response: answer };
    return this.#silence(association, "errorRate");
  }

  #silence(
    association: Association | undefined,
    reason: Extract<UnprotectedRequest, { kind: "silence" }>["reason"],
    from?: DroppedFrom,
  ): UnprotectedRequest {
    this.#core.drop(association?.session, reason, from);
    return { kind: "silence", reason };
  }
}

/** Whether a kid context means these keys: none at all, the raw ID Context, or the wrapped one. */
function names(kidContext: Uint8Array | undefined, { idContext }: SecurityContext): boolean {
  if (kidContext === undefined) return true;
  if (idContext === undefined) return false;
  if (equal(kidContext, idContext)) return true;
  const wrapped = unwrapByteString(kidContext);
  return wrapped !== undefined && equal(wrapped, idContext);
}

function greater(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return a.length > b.length;
  const at = a.findIndex((byte, i) => byte !== b[i]);
  return at >= 0 && a[at]! > b[at]!; // found in both
}

/** What is refused before it is known whose it is. */
const UNVERIFIED: ReadonlySet<Refusal> = new Set(["badOption", "unknownContext", "forged"]);
/** Requests without their Echo before new keys are made in its place. */
const PATIENCE = 2;

/** Outlives the datagram it is a view of. */
function copied({ code, options, payload }: Request): Request {
  return {
    code,
    options: options.map(({ number, value }) => ({ number, value: value.slice() })),
    payload: payload.slice(),
  };
}
