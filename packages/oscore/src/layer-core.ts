import { Deadlines, Outbox, type Instant, type Rng, type SessionId } from "@godwit/base";
import type { Association } from "./association.ts";
import { ContextDirectory } from "./context-directory.ts";
import type { DroppedFrom, DropReason, OscoreOutput, RekeyReason } from "./layer-events.ts";
import { SEQUENCE_LIMIT, type SecurityContext } from "./security-context.ts";
import type { OscoreTuning } from "./tuning.ts";

/** What both roles and the keeper of numbers share. */
export class LayerCore {
  readonly tuning: OscoreTuning;
  readonly rng: Rng;
  readonly outbox: Outbox<OscoreOutput> = new Outbox();
  readonly directory: ContextDirectory = new ContextDirectory();
  /** Writes that failed and are to be tried again. */
  readonly retries: Deadlines<Association> = new Deadlines();
  /** Windows of which the store is told ahead, while their peers speak often. */
  readonly settles: Deadlines<Association> = new Deadlines();
  /** R2 values that expire. */
  readonly runs: Deadlines<Association> = new Deadlines();

  constructor(tuning: OscoreTuning, rng: Rng) {
    this.tuning = tuning;
    this.rng = rng;
  }

  drop(session: SessionId | undefined, reason: DropReason, from?: DroppedFrom): void {
    if (from === undefined) this.outbox.push({ type: "dropped", session, reason });
    else this.outbox.push({ type: "dropped", session, reason, from });
  }

  derive(association: Association, idContext: Uint8Array | undefined): SecurityContext {
    return association.source.derive(idContext, this.tuning.replayWindow);
  }

  /**
   * The path follows each verified message that is newer than all before, on whatever it came; not one that we chose: who is on the
   * path may pass a message on from an address of its own.
   */
  follow(association: Association, carrier: SessionId, piv: number, validated: boolean): void {
    if (association.carrier !== carrier) {
      if (association.anchored) return;
      if (association.carrierProven) association.provenCarrier = association.carrier;
      association.carrierProven = false;
      association.movedBy = piv;
      association.carrier = carrier;
      this.outbox.push({ type: "moved", session: association.session, carrier, validated });
    }
    if (validated) this.proven(association);
  }

  /** The peer is where it says to be. */
  proven(association: Association): void {
    association.carrierProven = true;
    association.provenCarrier = undefined;
  }

  /** Whether nothing more may be encrypted, or believed, under these keys. */
  spent(context: SecurityContext): boolean {
    return (
      context.worn ||
      context.sequence >= SEQUENCE_LIMIT ||
      (this.tuning.atForgeryLimit === "stop" && context.forgeries >= context.aead.maxForgeries)
    );
  }

  /** Asks for new keys in good time (7.2.1, RFC 9053 4.2.1). */
  wear(association: Association, context: SecurityContext): void {
    if (association.renew || context !== association.active) return;
    const why = this.#worn(context);
    if (why === undefined) return;
    association.renew = true;
    this.outbox.push({ type: "rekey", session: association.session, why });
  }

  /** Makes `context` the one in use; what was before only ends what had begun. */
  establish(
    association: Association,
    context: SecurityContext,
    by: "us" | "peer",
    now: Instant,
  ): void {
    if (association.active !== undefined) association.active.retiredAt = now;
    association.active = context;
    association.pending = undefined;
    association.probe = undefined;
    association.nonces = undefined;
    this.runs.stop(association);
    association.stale = false;
    association.restored = false;
    association.windowLost = false;
    association.lostBelow = undefined;
    association.unanswered = 0;
    association.windowTop = undefined;
    association.sendIdContext = false;
    association.renew = false;
    association.renewals = 0;
    association.movedBy = -1;
    this.outbox.push({ type: "established", session: association.session, by });
    this.ready(association);
  }

  ready(association: Association): void {
    if (!association.waited) return;
    association.waited = false;
    this.outbox.push({ type: "ready", session: association.session });
  }

  #worn(context: SecurityContext): RekeyReason | undefined {
    const { renewAt } = this.tuning;
    const { aead } = context;
    if (context.sequence >= renewAt * SEQUENCE_LIMIT) return "sequence";
    if (context.encryptions >= renewAt * aead.maxEncryptions) return "encryptions";
    return context.forgeries >= renewAt * aead.maxForgeries ? "forgeries" : undefined;
  }
}
