import type { Instant } from "@godwit/base";
import type { NatSettings } from "./nat-settings.ts";

/** How long a flow or a mapping lives. Nothing wakes for it: whoever looks compares `expires` with the clock. */
export type LifeTimer = {
  readonly born: Instant;
  expires: Instant;
  seenOut: boolean;
  seenIn: boolean;
};

export function newTimer(now: Instant, settings: NatSettings): LifeTimer {
  return { born: now, expires: now + settings.oneWay, seenOut: false, seenIn: false };
}

/** A packet passed. */
export function refresh(
  timer: LifeTimer,
  direction: "out" | "in",
  now: Instant,
  settings: NatSettings,
): void {
  const wasTwoWay = timer.seenOut && timer.seenIn;
  if (direction === "out") timer.seenOut = true;
  else timer.seenIn = true;
  if (!(direction === "out" ? settings.outboundRefresh : settings.inboundRefresh)) return;
  const stream =
    settings.streamAfter === 0
      ? timer.seenOut && timer.seenIn
      : wasTwoWay && now - timer.born > settings.streamAfter;
  timer.expires = now + (stream ? settings.twoWay : settings.oneWay);
}
