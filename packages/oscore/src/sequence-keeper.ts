import { Tickets, type Instant, type StoreChange } from "@godwit/base";
import type { Association } from "./association.ts";
import { encodeRecord } from "./context-record.ts";
import type { LayerCore } from "./layer-core.ts";
import { SEQUENCE_LIMIT, type SecurityContext } from "./security-context.ts";

/** What a write was for, once it is done. */
export type Written = {
  readonly association: Association;
  readonly ok: boolean;
  /** Keys that the write was to make durable before they are used. */
  readonly adopting: SecurityContext | undefined;
};

/**
 * Keeps sequence numbers ahead of what is used (RFC 8613 B.1.1, turned round): the store holds a bound, numbers below it
 * may be used, and a crash continues at the bound. So nothing is assumed about how long a write takes, and a store that
 * fails stops the sender at the bound.
 */
export class SequenceKeeper {
  readonly #core: LayerCore;
  readonly #tickets = new Tickets<Ticket>();
  #lastTicket = 0;
  /** Writes for windows in this second. */
  #second = 0;
  #writes = 0;
  /** Writes up to this one were overtaken by a clean stop: what they reserved is not for use. */
  #void = 0;

  constructor(core: LayerCore) {
    this.#core = core;
  }

  /** Reserves in time: call after numbers were used. */
  ensure(association: Association, context: SecurityContext, now: Instant): void {
    if (context !== association.active || association.stale) return;
    if (context.bound - context.sequence <= association.stride / 2) this.reserve(association, now);
  }

  /** Raises the bound, unless a write is under way, a failed one is too recent, or there is nothing left to reserve. */
  reserve(association: Association, now: Instant): void {
    const context = association.active;
    if (context === undefined || association.stale || association.storing) return;
    if (this.#core.retries.at(association) !== undefined) return;
    const { strideTime, maxStride } = this.#core.tuning;
    if (association.strideSince > 0 && now - association.strideSince < strideTime)
      association.stride = Math.min(maxStride, association.stride * 2);
    association.strideSince = Math.max(now, 1);
    const bound = Math.min(
      SEQUENCE_LIMIT,
      Math.max(context.bound, context.sequence) + association.stride,
    );
    if (bound === context.bound && association.windowTop === undefined) return;
    this.#reserveUpTo(association, context, bound);
  }

  /**
   * Lets the store know which Partial IVs of the peer are accepted: `piv`, and as many beyond as soon will be. What outruns that
   * waits for the write.
   */
  raiseWindow(association: Association, context: SecurityContext, piv: number, now: Instant): void {
    const { tuning } = this.#core;
    const { maxWindowStride, busyWindowStride, windowStrideTime } = tuning;
    if (maxWindowStride === undefined || context !== association.active) return;
    context.windowUsed = now;
    if (association.stale || association.storing) return; // what is under way is followed by the next
    if (this.#core.retries.at(association) !== undefined) return;
    const ahead = context.windowPromised - 1 - piv;
    if (ahead > context.windowStride / 4 || (ahead === 0 && context.windowStride === 0)) return;
    const took = now - context.windowSince;
    if (took < windowStrideTime) {
      const most =
        took < windowStrideTime / 2 ? maxWindowStride : Math.max(FEW, context.windowStride);
      context.windowStride = Math.min(most, Math.max(1, context.windowStride * 2));
    } else {
      context.windowStride >>>= 1;
    }
    if (!this.#mayWrite(now)) {
      context.windowStride = Math.min(
        maxWindowStride,
        Math.max(busyWindowStride, context.windowStride),
      );
    }
    if (context.windowStride > 0)
      this.#core.settles.set(association, now + tuning.windowSettleTime);
    context.windowSince = now;
    context.windowPromised = Math.max(context.windowPromised, piv + 1 + context.windowStride);
    this.#reserveUpTo(association, context, Math.max(context.bound, context.promised));
  }

  /** Who says nothing more has nothing ahead: what it says next is known to be new after a crash, too. */
  settleWindow(association: Association, now: Instant): void {
    const context = association.active;
    const { windowSettleTime } = this.#core.tuning;
    if (context === undefined || association.stale || association.windowLost) return;
    const quietAt = context.windowUsed + windowSettleTime;
    const bound = context.windowTop + 1;
    if (bound >= context.windowPromised) return;
    if (quietAt > now || association.storing || !this.#mayWrite(now)) {
      this.#core.settles.set(association, Math.max(quietAt, now + windowSettleTime / 10));
      return;
    }
    context.windowStride = 0;
    context.windowPromised = bound; // from now on nothing above is accepted before the store knows of it again
    context.windowBound = bound;
    this.#reserveUpTo(association, context, Math.max(context.bound, context.promised));
  }

  /** Whether there may be one more write this second for a window alone. */
  #mayWrite(now: Instant): boolean {
    const second = Math.floor(now / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#writes = 0;
    }
    this.#writes += 1;
    return this.#writes <= this.#core.tuning.windowWritesPerSecond;
  }

  #reserveUpTo(association: Association, context: SecurityContext, bound: number): void {
    association.storing = true;
    context.promised = bound;
    const { windowPromised } = context;
    this.#write([change(association, context, bound, undefined)], {
      kind: "reserve",
      association,
      context,
      bound,
      windowPromised,
    });
  }

  /** Makes new keys durable with their first numbers, before they replace the old ones. */
  adopt(association: Association, context: SecurityContext): void {
    const bound = this.#core.tuning.firstStride;
    association.adopting = context;
    context.promised = bound;
    this.#write([change(association, context, bound, undefined)], {
      kind: "adopt",
      association,
      context,
      bound,
      windowPromised: context.windowPromised,
    });
  }

  /**
   * Writes the present state; nobody waits for it. Keys that were never stored may be used meanwhile: a crash then loses
   * them, and with them the danger of repeating a number.
   */
  note(association: Association): void {
    const context = association.active;
    if (context === undefined || association.stale) return;
    const bound = Math.max(context.bound, context.promised); // a reservation may be under way
    this.#write([change(association, context, bound, undefined)], { kind: "note", association });
  }

  /** Exact numbers and windows, and none used after. */
  park(associations: Iterable<Association>): void {
    this.#void = this.#lastTicket;
    let changes: StoreChange[] = [];
    for (const association of associations) {
      const context = association.active;
      if (context === undefined || association.stale) continue;
      context.bound = context.sequence;
      const top = association.windowLost ? association.windowTop : context.windowTop;
      changes.push(change(association, context, context.sequence, top));
      if (changes.length < PARK_BATCH) continue;
      this.#write(changes, { kind: "park" });
      changes = [];
    }
    if (changes.length > 0) this.#write(changes, { kind: "park" });
  }

  forget(association: Association): void {
    const key = String(association.session);
    this.#write([{ table: TABLE, key, value: undefined }], { kind: "park" });
  }

  /** Takes the store's answer; says what became of whom. */
  stored(number: number, ok: boolean, now: Instant): Written | undefined {
    const ticket = this.#tickets.take(number);
    if (number <= this.#void) return undefined;
    if (ticket === undefined || ticket.kind === "park" || ticket.association.gone) return undefined;
    const { association } = ticket;
    if (!ok) this.#failed(ticket, now);
    if (ticket.kind === "note") return undefined;
    if (ticket.kind === "adopt") {
      association.adopting = undefined;
      if (ok) ticket.context.bound = ticket.bound;
      if (ok) knowWindow(ticket.context, ticket.windowPromised);
      return { association, ok, adopting: ticket.context };
    }
    association.storing = false;
    if (ok) {
      ticket.context.bound = Math.max(ticket.context.bound, ticket.bound);
      knowWindow(ticket.context, ticket.windowPromised);
      this.#openWindow(association, ticket.context);
    }
    return { association, ok, adopting: undefined };
  }

  /** What a clean stop wrote is overwritten: from now on the window in memory is the only one. */
  #openWindow(association: Association, context: SecurityContext): void {
    if (context !== association.active || association.windowTop === undefined) return;
    if (association.windowTop >= 0) context.window.raise(association.windowTop);
    association.windowLost = false;
    association.windowTop = undefined;
  }

  #failed(ticket: Exclude<Ticket, { kind: "park" }>, now: Instant): void {
    const { association } = ticket;
    this.#core.drop(association.session, "storeFailed");
    if (ticket.kind === "adopt") return;
    this.#core.retries.set(association, now + this.#core.tuning.storeRetry);
  }

  #write(changes: readonly StoreChange[], ticket: Ticket): void {
    this.#lastTicket = this.#tickets.give(ticket);
    this.#core.outbox.push({ type: "store", ticket: this.#lastTicket, changes });
  }
}

/** The store knows that Partial IVs below `promised` may have been accepted. */
function knowWindow(context: SecurityContext, promised: number): void {
  if (promised > 0) context.windowBound = Math.max(context.windowBound ?? 0, promised);
}

function change(
  association: Association,
  context: SecurityContext,
  bound: number,
  windowTop: number | undefined,
): StoreChange {
  const { idContext, encryptions, windowPromised } = context;
  const windowBound = windowPromised > 0 ? windowPromised : undefined;
  const answersRepeat = context.answeredBelow > 0;
  const { sendIdContext, session, source } = association;
  const record = {
    idContext,
    bound,
    encryptions,
    sendIdContext,
    answersRepeat,
    windowTop,
    windowBound,
  };
  return { table: TABLE, key: String(session), value: encodeRecord(record, source.prk) };
}

type Ticket =
  | {
      readonly kind: "reserve" | "adopt";
      readonly association: Association;
      readonly context: SecurityContext;
      readonly bound: number;
      readonly windowPromised: number;
    }
  | { readonly kind: "note"; readonly association: Association }
  | { readonly kind: "park" };

/** Where records are: by the session's number. */
export const TABLE = "oscore";
/** Refusals that a peer without Echo can bear, which speaks not much more often than once a second. */
const FEW = 3;
const PARK_BATCH = 1_000;
