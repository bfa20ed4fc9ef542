/** What the simulator takes when nothing is said, and where it stops growing. */
export const TUNING: Tuning = {
  start: 1_795_996_800_000,
  linkDelay: 10,
  maxQueueDelay: 5_000,
  maxEventsPerInstant: 1_000_000,
  maxHeld: 10_000,
  maxLogEntries: 1_000_000,
  maxCaptureBytes: 64 * 1024 * 1024,
  maxFlowsPerMapping: 1_024,
  maxNatEntries: 65_536,
  maxBalancerFlows: 65_536,
  ephemeralPort: 49_152,
  blockSize: 128,
};

export type Tuning = {
  /** What a world's clock shows first, in ms since 1970: 2026-11-30. */
  readonly start: number;
  /** One-way delay of a host's link, in ms, where its options name none. */
  readonly linkDelay: number;
  /** How long a datagram may wait for a slow link before it is dropped as `queue-full`, in ms. */
  readonly maxQueueDelay: number;
  /** Events at one instant after which the world says that two machines chase each other for ever. */
  readonly maxEventsPerInstant: number;
  /** Datagrams a tap may hold; the next ones are dropped as `held-full`. */
  readonly maxHeld: number;
  /** Entries a datagram log keeps; later ones are only counted. */
  readonly maxLogEntries: number;
  /** Size of a capture in bytes; later datagrams are only counted. */
  readonly maxCaptureBytes: number;
  /** Remote endpoints one NAT mapping remembers; a further one makes it forget the oldest. */
  readonly maxFlowsPerMapping: number;
  /** Mappings of one NAT box, where its settings name no other number. */
  readonly maxNatEntries: number;
  /** Flows of one load balancer; a further one makes it forget the oldest. */
  readonly maxBalancerFlows: number;
  /** First port given to a socket that asks for none. */
  readonly ephemeralPort: number;
  /** Ports per subscriber with port assignment `block`. */
  readonly blockSize: number;
};
