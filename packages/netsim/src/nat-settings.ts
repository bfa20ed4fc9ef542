import { UsageError } from "@godwit/base";
import { TUNING } from "./tuning.ts";

/** The axes of RFC 4787 sections 4 and 5, and what the field adds to them. Times in ms. */
export type NatSettings = {
  /** Which flows of one inside socket share a public port: all (EIM), those to one host (ADM), none (APDM). */
  readonly mapping: "EIM" | "ADM" | "APDM";
  /** Who may use a live mapping from outside: anyone (EIF), hosts (ADF) or endpoints (APDF) that were spoken to. */
  readonly filtering: "EIF" | "ADF" | "APDF";
  /** With several public addresses: an inside host keeps one, or each mapping draws (RFC 4787 REQ-2). */
  readonly pooling: "paired" | "arbitrary";
  readonly ports: PortAssignment;
  /** Lowest and highest public port; `overload` does not ask for it. */
  readonly portRange: readonly [number, number];
  /** `mapping`: a public port serves one mapping. `flow`: it may serve many to different remote ends, as Linux does. */
  readonly portScope: "mapping" | "flow";
  /** Ports per inside host, with assignment `block`. */
  readonly blockSize: number;
  /** Ports 0-1023 stay below 1024, others above (RFC 4787 REQ-3a). */
  readonly keepClass: boolean;
  /** Even ports stay even, odd ones odd (RFC 4787 REQ-4). */
  readonly parity: boolean;
  /** The neighbour of an inside port (RTP and RTCP) gets the neighbour of its public one, where it is free. */
  readonly contiguity: boolean;
  /** Life of what was seen in one direction only. */
  readonly oneWay: number;
  /** Life once both directions were seen. */
  readonly twoWay: number;
  /**
   * `twoWay` counts only for flows older than this when a packet passes, and the answer that makes a flow two-way
   * does not count itself: Linux, 2 s. 0: it counts at once.
   */
  readonly streamAfter: number;
  readonly outboundRefresh: boolean;
  readonly inboundRefresh: boolean;
  /** A packet prolongs its own flow, or the mapping and all who may use it (RFC 4787 4.3). */
  readonly refreshBy: "flow" | "mapping";
  /** How long a freed public port rests. */
  readonly holdDown: number;
  /** Mappings at once; at the limit new ones are refused. */
  readonly maxEntries: number;
  /** Inside hosts that speak to the public address: with public source (RFC 4787 REQ-9), inside source, or not at all. */
  readonly hairpin: "external" | "internal" | "none";
  /** ICMP errors pass, are dropped, or end the mapping they are about (RFC 4787 REQ-12 forbids the last). */
  readonly icmp: "pass" | "drop" | "end-mapping";
};

/**
 * `preserve`: the inside port while it is free, else a random other. `overload`: the inside port always, and the
 * earlier owner loses it. `sequential`: the next free one. `random`. `block`: the next of the host's own block.
 */
export type PortAssignment = "preserve" | "overload" | "sequential" | "random" | "block";

/** Throws UsageError for settings that contradict each other. */
export function checkNat(settings: NatSettings): NatSettings {
  const [low, high] = settings.portRange;
  if (!(low > 0 && low <= high && high <= 0xffff))
    throw new UsageError(`no range of ports: ${low}-${high}`);
  if (settings.portScope === "flow" && settings.mapping !== "APDM")
    throw new UsageError("only APDM mappings can share a public port by flow");
  if (settings.ports === "block" && settings.blockSize > high - low + 1)
    throw new UsageError("the port range holds no block");
  for (const time of [settings.oneWay, settings.twoWay, settings.streamAfter, settings.holdDown])
    if (!(time >= 0)) throw new UsageError(`a time is 0 or more, not ${time}`);
  return settings;
}

/** RFC 4787 as it asks to be built: what the presets start from. */
export const RFC4787: NatSettings = {
  mapping: "EIM",
  filtering: "EIF",
  pooling: "paired",
  ports: "preserve",
  portRange: [1, 65_535],
  portScope: "mapping",
  blockSize: TUNING.blockSize,
  keepClass: true,
  parity: false,
  contiguity: false,
  oneWay: 300_000,
  twoWay: 300_000,
  streamAfter: 0,
  outboundRefresh: true,
  inboundRefresh: true,
  refreshBy: "mapping",
  holdDown: 0,
  maxEntries: TUNING.maxNatEntries,
  hairpin: "external",
  icmp: "pass",
};
