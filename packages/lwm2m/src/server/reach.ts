// When may the server speak? A device behind a NAT hears it only while its mapping lives; one in queue mode only
// while it is awake. What earlier pushes showed is remembered: the longest silence after which one got through,
// and the shortest after which one did not.

import type { Instant } from "@godwit/base";
import type { ServerTuning } from "./tuning.ts";
import type { Reachability, Registration } from "./registration.ts";

export type Reach = {
  /** The device's last sign of life. */
  seenAt: Instant;
  /** The last push was not answered, and the device has not spoken since. */
  silent: boolean;
  /** ms of silence after which a push got through. */
  aliveAfter: number;
  /** ms of silence after which a push was lost; Infinity while unknown. */
  deadAfter: number;
  /** The device answered 5.03: nothing more before this instant, or its next Register or Update. */
  busyUntil: Instant;
};

export function freshReach(now: Instant): Reach {
  return {
    seenAt: now,
    silent: false,
    aliveAfter: 0,
    deadAfter: Number.POSITIVE_INFINITY,
    busyUntil: 0,
  };
}

/** The device spoke. */
export function noteUplink(reach: Reach, now: Instant): void {
  reach.seenAt = now;
  reach.silent = false;
}

/** A push that left after `idle` ms of silence was answered. */
export function notePushAnswered(reach: Reach, idle: number): void {
  reach.aliveAfter = Math.max(reach.aliveAfter, idle);
  if (reach.deadAfter <= reach.aliveAfter) reach.deadAfter = Number.POSITIVE_INFINITY;
}

/** A push that left after `idle` ms of silence was never answered. */
export function notePushLost(reach: Reach, idle: number, tuning: ServerTuning): void {
  reach.silent = true;
  // Lost right after an uplink says that the device left, not that a NAT forgot it.
  if (idle < tuning.shortestBinding) return;
  reach.deadAfter = Math.min(reach.deadAfter, idle);
  if (reach.aliveAfter >= reach.deadAfter) reach.aliveAfter = 0;
}

/** Whether a request may be sent now, or must wait for the device to speak. */
export function canPush(registration: Registration, tuning: ServerTuning, now: Instant): boolean {
  const { reach } = registration;
  const idle = now - reach.seenAt;
  if (reach.silent || now < reach.busyUntil) return false;
  return registration.queueMode ? idle < tuning.awakeWindow : idle < reach.deadAfter;
}

export function reachability(
  registration: Registration,
  tuning: ServerTuning,
  now: Instant,
): Reachability {
  const { reach } = registration;
  const idle = now - reach.seenAt;
  if (registration.queueMode) return idle < tuning.awakeWindow ? "reachable" : "asleep";
  if (reach.silent) return "unreachable";
  const trusted = Math.max(tuning.trustedBinding, reach.aliveAfter);
  return idle <= trusted && idle < reach.deadAfter ? "reachable" : "uncertain";
}
