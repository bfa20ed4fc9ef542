import { Deadlines, Outbox, equal, type Instant, type SessionId } from "@godwit/base";
import { isSuccess } from "./codes.ts";
import type { ExchangeId } from "./endpoint-events.ts";
import type { Request, Response } from "./message.ts";
import { observeOption } from "./observe-option.ts";
import { observationKey } from "./operation-key.ts";
import { OptionNumber } from "./option-numbers.ts";
import { withOption, withoutOption } from "./options.ts";
import type { CoapTuning } from "./tuning.ts";

/**
 * Who observes what at us, and when each may hear of it (RFC 7641 4):
 *
 *     register ──▶ observed ── notify ──▶ waiting ── pace and NSTART allow ──▶ "notify" ──▶ sent(mid)
 *                     ▲                      ▲ a newer state takes the place       │
 *                     └── acknowledged ──────┴──────────── retransmit ─────────────┘
 *     ended by: deregister, reset, timedOut, a class 4 or 5 notification, unobserve, closed, a registration anew
 *     where observations are lasting, timedOut ends none: what did not arrive comes out as "unnotified"
 *
 * Of each observation only the newest state waits (4.5.2). Drain `poll` after every call.
 */
export class Observers {
  readonly #tuning: CoapTuning;
  readonly #observations = new Map<ExchangeId, Observation>();
  /** From the first observation to the end of the session: its sequence must not start over (4.4). */
  readonly #sessions = new Map<SessionId, Session>();
  /** When a session's pace allows what waits there. */
  readonly #deadlines = new Deadlines<SessionId>();
  readonly #outbox = new Outbox<ObserversOutput>();
  readonly #lasting: boolean;

  /** `lasting`: the application decides what a notification that is never acknowledged ends. */
  constructor(tuning: CoapTuning, lasting = false) {
    this.#tuning = tuning;
    this.#lasting = lasting;
  }

  /** Observations held. */
  get size(): number {
    return this.#observations.size;
  }

  get wakeAt(): Instant | undefined {
    return this.#deadlines.next;
  }

  /**
   * The application accepted an observation: the value for Observe in its answer, or undefined if no more can be
   * held and the answer goes without (4.1). One of the same token, or of the same resource and options, is replaced.
   */
  register(registration: Registration, now: Instant): number | undefined {
    const { exchange, session, token } = registration;
    const key = observationKey(registration.request);
    const known = this.#sessions.get(session)?.observations ?? [];
    const replaced = known.filter((o) => equal(o.token, token) || o.key === key);
    if (replaced.length === 0) {
      if (known.length >= this.#tuning.maxObservationsPerSession) return undefined;
      if (this.#observations.size >= this.#tuning.maxObservations) return undefined;
    }
    for (const old of replaced) this.#end(old, "replaced");
    const state = this.#session(session);
    const observation: Observation = {
      exchange,
      session,
      token: Uint8Array.from(token),
      key,
      request: kept(registration.request),
      confirmedAt: now, // asking is as good a sign of interest as an ACK
      waiting: undefined,
      mid: undefined,
      protection: registration.protection,
    };
    state.observations.push(observation);
    this.#observations.set(exchange, observation);
    return ++state.sequence;
  }

  /**
   * Takes up an observation from before a restart; its notifications come after `sequence`. False: no more can be held, or
   * there is one of this token or resource already.
   */
  resume(registration: Registration, sequence: number, now: Instant): boolean {
    const { session, token, request } = registration;
    const key = observationKey(request);
    const known = this.#sessions.get(session)?.observations ?? [];
    if (known.some((o) => equal(o.token, token) || o.key === key)) return false;
    if (this.register(registration, now) === undefined) return false;
    const state = this.#session(session);
    state.sequence = Math.max(state.sequence, sequence);
    return true;
  }

  /** The observation that `exchange` began. */
  observation(exchange: ExchangeId): Registration | undefined {
    return this.#observations.get(exchange);
  }

  /** The exchange that began the observation with this token. */
  find(session: SessionId, token: Uint8Array): ExchangeId | undefined {
    const known = this.#sessions.get(session)?.observations;
    return known?.find((o) => equal(o.token, token))?.exchange;
  }

  /**
   * A new state of what `exchange` observes, to go out as soon as it may. Confirmable if wanted, if none was for
   * `confirmableNotifyInterval`, and if it is the last: a class 4 or 5 code ends the observation (4.2).
   * False: there is no such observation (any more).
   */
  notify(
    exchange: ExchangeId,
    response: Response,
    confirmable: boolean | undefined,
    now: Instant,
  ): boolean {
    const observation = this.#observations.get(exchange);
    if (observation === undefined) return false;
    const wanted = confirmable === true || observation.waiting?.confirmable === true;
    observation.waiting = { response, confirmable: wanted };
    this.#pump(observation.session, now);
    return true;
  }

  /** The message id under which a polled notification went out. */
  sent(session: SessionId, exchange: ExchangeId, mid: number, now: Instant): void {
    const flight = this.#sessions
      .get(session)
      ?.flights.find((f) => f.exchange === exchange && f.mid === undefined);
    if (flight !== undefined) {
      flight.mid = mid;
      flight.sentAt = now;
      return;
    }
    const observation = this.#observations.get(exchange);
    if (observation !== undefined) observation.mid = mid;
  }

  /** The peer's ACK. False: to no notification under way. */
  acknowledged(session: SessionId, mid: number, now: Instant): boolean {
    const state = this.#sessions.get(session);
    const flight = state?.flights.find((f) => f.mid === mid);
    // The ACK of a superseded state shows interest, but not that the newest has arrived (4.5.2).
    if (state === undefined || flight === undefined) return this.#superseded(session, mid);
    // RFC 6298 3: what was sent twice tells nothing about the time it took.
    if (!flight.repeated) {
      state.roundTrip = smoothed(state.roundTrip, now - flight.sentAt);
      state.pace = Math.min(state.pace, now + state.roundTrip); // no debt from when the time was not known
    }
    this.#land(state, flight);
    const observation = this.#observations.get(flight.exchange);
    if (observation !== undefined) observation.confirmedAt = now;
    this.#pump(session, now);
    return true;
  }

  /** The peer's RST: it is not interested (4.5). False: the message id is of no notification that is remembered. */
  reset(session: SessionId, mid: number, now: Instant): boolean {
    const state = this.#sessions.get(session);
    if (state === undefined) return false;
    const flight = state.flights.find((f) => f.mid === mid || f.superseded.includes(mid));
    if (flight !== undefined) {
      this.#land(state, flight);
      if (flight.isLast) this.#unheard(flight, session);
    }
    const observation =
      flight === undefined
        ? state.observations.find((o) => o.mid === mid)
        : this.#observations.get(flight.exchange);
    if (observation !== undefined) this.#end(observation, "reset");
    this.#pump(session, now);
    return flight !== undefined || observation !== undefined;
  }

  /**
   * A confirmable notification is about to be retransmitted: the newer state to send in its place, under a new message
   * id but with the timeout and count of the old one (4.5.2). Undefined: there is none, it goes out as it was.
   */
  retransmit(session: SessionId, mid: number, now: Instant): Notification | undefined {
    const state = this.#sessions.get(session);
    const flight = state?.flights.find((f) => f.mid === mid);
    if (state === undefined || flight === undefined) return undefined;
    flight.repeated = true;
    const observation = this.#observations.get(flight.exchange);
    if (observation?.waiting === undefined) return undefined;
    flight.superseded.push(mid);
    flight.mid = undefined;
    flight.isLast = isLastWord(observation);
    return this.#dispatch(state, observation, true, now);
  }

  /** A confirmable notification goes out once more as it was, in smaller blocks: say the new message id with `sent`. */
  repeated(session: SessionId, mid: number): void {
    const flight = this.#sessions.get(session)?.flights.find((f) => f.mid === mid);
    if (flight === undefined) return;
    flight.superseded.push(mid);
    flight.mid = undefined;
  }

  /**
   * The last retransmission went unanswered: the peer is gone, and with it all it observes (4.5). Lasting observations stay;
   * what waits for the peer, too, is given back.
   */
  timedOut(session: SessionId, mid: number): boolean {
    const state = this.#sessions.get(session);
    const flight = state?.flights.find((f) => f.mid === mid);
    if (state === undefined || flight === undefined) return false;
    this.#land(state, flight);
    if (!this.#lasting) {
      for (const observation of [...state.observations]) this.#end(observation, "timeout");
      return true;
    }
    const lost = new Set([flight.exchange]);
    for (const observation of state.observations) {
      if (observation.waiting === undefined) continue;
      observation.waiting = undefined;
      lost.add(observation.exchange);
    }
    for (const exchange of lost) this.#outbox.push({ type: "unnotified", exchange, session });
    return true;
  }

  /** A request with Observe 1. False: nothing of that token, nor of that resource, was observed. */
  deregister(session: SessionId, token: Uint8Array, request: Request): boolean {
    const known = this.#sessions.get(session)?.observations ?? [];
    const key = observationKey(request);
    const observation =
      known.find((o) => equal(o.token, token)) ?? known.find((o) => o.key === key);
    if (observation !== undefined) this.#end(observation, "deregistered");
    return observation !== undefined;
  }

  /** Ends an observation without a word. */
  unobserve(exchange: ExchangeId): void {
    const observation = this.#observations.get(exchange);
    if (observation !== undefined) this.#end(observation, undefined);
  }

  /** The session is over. */
  closed(session: SessionId): void {
    for (const observation of [...(this.#sessions.get(session)?.observations ?? [])])
      this.#end(observation, "closed");
    for (const flight of this.#sessions.get(session)?.flights ?? [])
      if (flight.isLast) this.#unheard(flight, session);
    this.#sessions.delete(session);
    this.#deadlines.stop(session);
  }

  /** What `from` observes, `into` observes from now on; an observation of the same in both is replaced. */
  moved(from: SessionId, into: SessionId, now: Instant): void {
    const source = this.#sessions.get(from);
    if (source === undefined || from === into) return;
    const target = this.#session(into);
    target.sequence = Math.max(target.sequence, source.sequence);
    for (const observation of source.observations) {
      const twin = target.observations.find(
        (o) => equal(o.token, observation.token) || o.key === observation.key,
      );
      if (twin !== undefined) this.#end(twin, "replaced");
      if (target.observations.length >= this.#tuning.maxObservationsPerSession) {
        this.#observations.delete(observation.exchange);
        this.#outbox.push({ type: "unobserved", exchange: observation.exchange, why: "closed" });
        continue;
      }
      observation.session = into;
      observation.mid = undefined; // message ids are the old session's
      target.observations.push(observation);
    }
    source.observations.length = 0;
    this.closed(from);
    this.#pump(into, now);
  }

  wake(now: Instant): void {
    for (
      let due = this.#deadlines.expired(now);
      due !== undefined;
      due = this.#deadlines.expired(now)
    )
      this.#pump(due, now);
  }

  poll(): ObserversOutput | undefined {
    return this.#outbox.take();
  }

  // ── When what may go ──

  #pump(session: SessionId, now: Instant): void {
    const state = this.#sessions.get(session);
    if (state === undefined) return;
    this.#deadlines.stop(session);
    for (;;) {
      // 4.5.1: NSTART outstanding notifications, whatever their number of observations.
      if (state.flights.length >= this.#tuning.nstart) return;
      const waiting = state.observations.filter((o) => o.waiting !== undefined);
      if (waiting.length === 0) return;
      const crowded = this.#crowded(state, now);
      const paced = this.#pacedUntil(state);
      const next =
        crowded === undefined
          ? waiting.find((o) => now >= paced || this.#confirmable(o, now))
          : undefined;
      if (next === undefined) {
        this.#deadlines.set(session, crowded ?? paced);
        return;
      }
      const confirmable = this.#confirmable(next, now);
      if (confirmable)
        state.flights.push({
          exchange: next.exchange,
          mid: undefined,
          superseded: [],
          sentAt: now,
          repeated: false,
          isLast: isLastWord(next),
        });
      else state.pace = Math.max(state.pace, now) + this.#interval(state);
      this.#outbox.push({ type: "notify", ...this.#dispatch(state, next, confirmable, now) });
      // Who waits longest goes first next time.
      if (state.observations.length > 1 && state.observations.includes(next)) {
        state.observations.splice(state.observations.indexOf(next), 1);
        state.observations.push(next);
      }
    }
  }

  /** Takes what waits. The last notification of an observation ends it here. */
  #dispatch(
    state: Session,
    observation: Observation,
    confirmable: boolean,
    now: Instant,
  ): Notification {
    const { response } = observation.waiting!; // callers have seen it
    observation.waiting = undefined;
    if (state.stamp !== now) {
      state.stamp = now;
      state.stamped = 0;
    }
    state.stamped++;
    const sequence = ++state.sequence;
    const plain = withoutOption(response.options, OptionNumber.Observe);
    const goesOn = isSuccess(response.code);
    if (!goesOn) this.#end(observation, "error");
    const { exchange, session, token, request, protection } = observation;
    const options = goesOn ? withOption(plain, observeOption(sequence)) : plain;
    return {
      exchange,
      session,
      token,
      request,
      protection,
      response: { ...response, options },
      confirmable,
    };
  }

  #confirmable(observation: Observation, now: Instant): boolean {
    const { waiting, confirmedAt } = observation;
    if (waiting === undefined) return false;
    return (
      waiting.confirmable ||
      isLastWord(observation) ||
      now - confirmedAt >= this.#tuning.confirmableNotifyInterval
    );
  }

  /** 4.5.1: one non-confirmable notification per round trip on average. */
  #interval(state: Session): number {
    return state.roundTrip ?? this.#tuning.nonNotifyInterval;
  }

  #pacedUntil(state: Session): Instant {
    return state.pace - (this.#tuning.nonNotifyBurst - 1) * this.#interval(state);
  }

  /** 4.4: fewer than 2^23 values in 256 s. Undefined: there is room. */
  #crowded(state: Session, now: Instant): Instant | undefined {
    return state.stamp === now && state.stamped >= MAX_AT_ONCE ? now + 1 : undefined;
  }

  // ── What is kept ──

  #session(session: SessionId): Session {
    let state = this.#sessions.get(session);
    if (state === undefined) {
      state = {
        observations: [],
        flights: [],
        sequence: 0,
        pace: Number.NEGATIVE_INFINITY,
        roundTrip: undefined,
        stamp: Number.NEGATIVE_INFINITY,
        stamped: 0,
      };
      this.#sessions.set(session, state);
    }
    return state;
  }

  #superseded(session: SessionId, mid: number): boolean {
    const flights = this.#sessions.get(session)?.flights;
    return flights?.some((f) => f.superseded.includes(mid)) ?? false;
  }

  #land(state: Session, flight: Flight): void {
    state.flights.splice(state.flights.indexOf(flight), 1);
  }

  /** The peer may not know that the observation has ended. */
  #unheard({ exchange }: Flight, session: SessionId): void {
    if (this.#lasting) this.#outbox.push({ type: "unnotified", exchange, session });
  }

  #end(observation: Observation, why: UnobservedReason | undefined): void {
    this.#observations.delete(observation.exchange);
    const known = this.#sessions.get(observation.session)?.observations;
    const at = known?.indexOf(observation) ?? -1;
    if (at >= 0) known?.splice(at, 1);
    if (why !== undefined)
      this.#outbox.push({ type: "unobserved", exchange: observation.exchange, why });
  }
}

/** An observation as it was asked for. */
export type Registration = {
  /** Names it from here on. */
  readonly exchange: ExchangeId;
  readonly session: SessionId;
  readonly token: Uint8Array;
  readonly request: Request;
  /** By which its notifications are protected. */
  readonly protection?: unknown;
};

/** A notification to send, its Observe option set; `request` is the one that began the observation. */
export type Notification = Registration & {
  readonly response: Response;
  readonly confirmable: boolean;
};

export type UnobservedReason =
  | "reset"
  | "deregistered"
  | "timeout"
  | "replaced"
  | "closed"
  | "error";

export type ObserversOutput =
  /** Send it, and say under which message id with `sent`. */
  | ({ readonly type: "notify" } & Notification)
  /** The newest state of this lasting observation did not arrive; its last one, if it has ended. */
  | { readonly type: "unnotified"; readonly exchange: ExchangeId; readonly session: SessionId }
  | {
      readonly type: "unobserved";
      readonly exchange: ExchangeId;
      readonly why: UnobservedReason;
    };

type Observation = {
  readonly exchange: ExchangeId;
  session: SessionId;
  readonly token: Uint8Array;
  readonly key: string;
  readonly request: Request;
  readonly protection: unknown;
  /** When the peer last showed its interest. */
  confirmedAt: Instant;
  /** The newest state, if it has not gone out. */
  waiting: { readonly response: Response; readonly confirmable: boolean } | undefined;
  /** Message id of the last non-confirmable notification, by which an RST finds it. */
  mid: number | undefined;
};

/** A confirmable notification that is not acknowledged yet. */
type Flight = {
  readonly exchange: ExchangeId;
  /** Undefined until `sent` says it. */
  mid: number | undefined;
  readonly superseded: number[];
  sentAt: Instant;
  repeated: boolean;
  /** It ends its observation. */
  isLast: boolean;
};

/** What waits ends the observation: a class 4 or 5 code (4.2). */
function isLastWord({ waiting }: Observation): boolean {
  return waiting !== undefined && !isSuccess(waiting.response.code);
}

type Session = {
  /** Who waited longest comes first. */
  readonly observations: Observation[];
  readonly flights: Flight[];
  /** The last one given out; its low 24 bits go on the wire. Small numbers are short. */
  sequence: number;
  /** When the non-confirmable notifications so far would have been sent one interval apart. */
  pace: Instant;
  /** Smoothed, ms; undefined until a notification was acknowledged at once. */
  roundTrip: number | undefined;
  /** How many numbers were given out at the instant `stamp`. */
  stamp: Instant;
  stamped: number;
};

/** As the observation's own: out of the datagram, without the transfer of its body. */
function kept(request: Request): Request {
  const options = withoutOption(request.options, OptionNumber.Block1).map(({ number, value }) => ({
    number,
    value: Uint8Array.from(value),
  }));
  return { code: request.code, options, payload: Uint8Array.from(request.payload) };
}

/** RFC 6298 2.3. */
function smoothed(before: number | undefined, sample: number): number {
  return before === undefined ? sample : before + (sample - before) / 8;
}

/** Per ms, as instants are: 32 * 256 000 < 2^23. */
const MAX_AT_ONCE = 32;
