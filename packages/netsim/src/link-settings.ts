import { UsageError } from "@godwit/base";
import { TUNING } from "./tuning.ts";

/** What one direction of a link does to packets. Probabilities are 0-1, times in ms, sizes in bytes. */
export type LinkSettings = {
  /** Probability that a packet is lost, each for itself. */
  readonly loss: number;
  /** Bad phases after Gilbert and Elliott: chance per packet to enter and to leave one, and the loss inside. */
  readonly burst: { readonly enter: number; readonly leave: number; readonly loss: number } | null;
  readonly delay: number;
  /** Up to so much is added to the delay, evenly spread. Jitter alone never reorders. */
  readonly jitter: number;
  /** This share of packets takes `delay` plus up to `jitter` longer, and later ones overtake it. */
  readonly reorder: {
    readonly probability: number;
    readonly delay: number;
    readonly jitter: number;
  } | null;
  /** Probability that a packet arrives twice. */
  readonly duplicate: number;
  /** Up to so much later comes the second copy. */
  readonly duplicateDelay: number;
  /** Largest IP packet that passes, IP and UDP headers included. */
  readonly mtu: number;
  /** A larger one vanishes ("drop"), or its sender is told by ICMP ("report", RFC 4787 REQ-13). */
  readonly tooBig: "drop" | "report";
  /** Bits per second; packets queue behind each other. */
  readonly bandwidth: number;
  /** Longest wait in that queue; a packet that would wait longer is dropped. */
  readonly maxQueueDelay: number;
  /** Nothing passes. */
  readonly cut: boolean;
};

/** Settings for both directions, and where they differ for `up` (away from the owner) or `down` alone. */
export type LinkOptions = Partial<LinkSettings> & {
  readonly up?: Partial<LinkSettings>;
  readonly down?: Partial<LinkSettings>;
};

/** A link that changes nothing and takes no time. */
export const PERFECT_LINK: LinkSettings = {
  loss: 0,
  burst: null,
  delay: 0,
  jitter: 0,
  reorder: null,
  duplicate: 0,
  duplicateDelay: 0,
  mtu: Infinity,
  tooBig: "drop",
  bandwidth: Infinity,
  maxQueueDelay: TUNING.maxQueueDelay,
  cut: false,
};

/** Throws UsageError for a value out of range. */
export function checkLink(settings: LinkSettings): LinkSettings {
  const { loss, burst, reorder, duplicate } = settings;
  const shares = [loss, duplicate, burst?.enter, burst?.leave, burst?.loss, reorder?.probability];
  for (const share of shares)
    if (share !== undefined && !(share >= 0 && share <= 1))
      throw new UsageError(`a probability is 0-1, not ${share}`);
  const { delay, jitter, duplicateDelay, maxQueueDelay } = settings;
  const times = [delay, jitter, duplicateDelay, maxQueueDelay, reorder?.delay, reorder?.jitter];
  for (const time of times)
    if (time !== undefined && !(time >= 0))
      throw new UsageError(`a time is 0 or more, not ${time}`);
  if (!(settings.mtu > 0)) throw new UsageError(`an MTU is above 0, not ${settings.mtu}`);
  if (!(settings.bandwidth > 0))
    throw new UsageError(`a bandwidth is above 0, not ${settings.bandwidth}`);
  return settings;
}
