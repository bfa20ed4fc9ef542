/** The ways to keep a session between a device and its server. */
export type StrategyName = "udp" | "dtls12-resume" | "dtls12-cid" | "dtls13-cid" | "oscore";

/**
 * `establish`: the handshake alone. `register`: all that registration costs, with any negotiation that rides on it.
 * `update`: Update and its answer in steady state. `resume`: session resumption, and the Update that follows it.
 */
export type Step = "establish" | "register" | "update" | "resume";

/** `published`: the published example's shape. `defaults`: ours. `kept`: ours, with state kept from an earlier run. */
export type Settings = "published" | "defaults" | "kept";

export type NamedDatagram = {
  readonly from: "client" | "server";
  /** Message names of the RFCs, joined by " + " where several travel together. */
  readonly name: string;
  /** UDP payload. */
  readonly bytes: number;
};

/** What keep-alive costs over a span of time. */
export type Upkeep = {
  /** Keep-alive messages of the device. */
  readonly packets: number;
  /** Datagrams of both directions, and their UDP payload bytes. */
  readonly datagrams: number;
  readonly bytes: number;
};

export type Row = {
  readonly strategy: StrategyName;
  readonly step: Step;
  readonly settings: Settings;
  readonly datagrams: readonly NamedDatagram[];
  /** Sum over all datagrams. */
  readonly bytes: number;
  /** The published figure for this step, where there is one. */
  readonly published: number | null;
  /** One keep-alive exchange every 120 s, counted over an hour, a day and 30 days. */
  readonly perHour?: Upkeep;
  readonly perDay?: Upkeep;
  readonly perMonth?: Upkeep;
};

/** Plays a strategy's steps in a simulated world, and tells what crossed the link. */
export type Strategy = () => readonly Row[];
