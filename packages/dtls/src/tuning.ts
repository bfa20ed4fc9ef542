/** Every knob of the stack with its default. Times in ms, sizes in bytes. */
export type DtlsTuning = {
  /** First wait for an answer to a flight (RFC 6347 4.2.4.1); RFC 7925 11 has 9 s for constrained networks. */
  readonly initialTimeout: number;
  /** The wait doubles up to here. */
  readonly maxTimeout: number;
  /** How often a flight goes out before the handshake is given up. */
  readonly maxTransmissions: number;
  /** How often a flight goes out in vain after an alert or a bad message in the clear, before that is believed. */
  readonly alertPatience: number;
  /** A flight repeated by the peer is answered again, but not more often than this. */
  readonly resendGap: number;
  /** How long the last flight is kept for a peer that repeats its own: 2 MSL (RFC 6347 4.2.4). */
  readonly lastFlightKept: number;
  /** UDP payload of a handshake datagram; after each two time-outs the next size is tried. */
  readonly mtus: readonly [number, ...number[]];
  /**
   * Whether several handshake messages share a record, which RFC 6347 4.2.3 allows and some stacks refuse (tinydtls).
   * "modern": with peers whose hello has a connection id.
   */
  readonly coalesce: "always" | "modern" | "never";
  /** Anti-replay window in records: a multiple of 32, at least 64 (RFC 6347 4.1.2.6). */
  readonly replayWindow: number;
  /** Connection ids of ours: all of one length, or their records could not be told apart. */
  readonly cidLength: number;
  /** Where the peer gave us a connection id, plaintexts are padded to a multiple of this; 1 for none. */
  readonly padTo: number;
  /** Session ids we give out; 0 gives none. */
  readonly sessionIdLength: number;
  /** How long a session may be resumed. */
  readonly sessionLifetime: number;
  /** Sessions kept for resumption; the oldest makes way. */
  readonly maxSessions: number;
  /** Those of one identity: its own oldest makes way. */
  readonly maxSessionsPerIdentity: number;
  /** How long one ticket key makes tickets; the one before is still taken. */
  readonly ticketKeyPeriod: number;
  readonly cookieLength: number;
  readonly cookiePeriod: number;
  /** Handshakes running at once, all with a valid cookie. At it one that waits gives way, or the client tries again. */
  readonly maxHandshakes: number;
  /** Those of them that one address may have: a carrier's NAT may have a fleet behind it. */
  readonly maxHandshakesPerHost: number;
  /** Those of them that one network may have, /24 in IPv4 and /64 in IPv6. */
  readonly maxHandshakesPerNetwork: number;
  /** A handshake that has waited so long for its client gives way to a new one where a limit is reached. */
  readonly halfOpenGrace: number;
  /** How often one network is told of refusals with one alert in `refusalPeriod`. */
  readonly refusalsPerSource: number;
  readonly refusalPeriod: number;
  /** The same for all networks, in one second. */
  readonly refusalsPerSecond: number;
  /** Networks and reasons that are counted for it; the oldest is forgotten. */
  readonly maxRefusalSources: number;
  /** Associations kept; a new one is refused beyond that. */
  readonly maxAssociations: number;
  /** Associations that said nothing for this long are forgotten. */
  readonly idleLimit: number;
  /** The longest handshake message taken. */
  readonly maxMessage: number;
  /** Records looked at in one datagram; a flight has six. */
  readonly maxRecords: number;
  /** Handshake messages kept ahead of their turn. */
  readonly maxAhead: number;
  /** Fragments of one handshake kept, in bytes. */
  readonly maxReassembly: number;
  /** Runs of bytes apart from each other in one message. */
  readonly maxPieces: number;
  /** Protected records that came before their keys or before Finished. */
  readonly maxDeferred: number;
  /** Application messages that wait for the store to reserve sequence numbers, per association. */
  readonly maxHeld: number;
  /** Write sequence numbers reserved in the store at once; renewed when half are used. */
  readonly stride: number;
  /** Records that may fail to verify under one key before the association is closed (RFC 9147 4.5.3). */
  readonly forgeryLimit: number;
  /** Write sequence number at which the association ends: before the 48 bits wrap. */
  readonly sequenceLimit: number;
  /** Refuses peers without RFC 7627. */
  readonly requireExtendedMasterSecret: boolean;
  /** Largest plaintext we want to receive, announced by record_size_limit; 0 announces nothing. */
  readonly recordSizeLimit: number;
  /** Client: asks for max_fragment_length 512, 1024, 2048 or 4096 (RFC 6066 4); 0 asks for none. */
  readonly maxFragmentLength: number;
  /** Bytes that may go to a new address for each byte from it, until it is proven (RFC 9853 4). */
  readonly amplification: number;
  /** How a new address is proven where the peer knows RFC 9853. */
  readonly routabilityCheck: "off" | "basic" | "enhanced";
  /** Wait for the answer to a path challenge (RFC 9853 5: three round trips, or 1 s where they are unknown). */
  readonly challengeTimeout: number;
  /** How long after a restart the address of what may be a replay is believed, where no check can be made. */
  readonly doubtfulClaim: number;
  /** A client that moved sends its challenge so often, for UDP may lose it. */
  readonly maxChallenges: number;
};

export const DEFAULT_TUNING: DtlsTuning = {
  initialTimeout: 1_000,
  maxTimeout: 60_000,
  maxTransmissions: 8,
  alertPatience: 1,
  resendGap: 250,
  lastFlightKept: 240_000,
  mtus: [1_232, 548, 256],
  coalesce: "modern",
  replayWindow: 64,
  cidLength: 4,
  padTo: 1,
  sessionIdLength: 8,
  sessionLifetime: 30 * 86_400_000,
  maxSessions: 100_000,
  maxSessionsPerIdentity: 4,
  ticketKeyPeriod: 7 * 86_400_000,
  cookieLength: 8,
  cookiePeriod: 60_000,
  maxHandshakes: 5_000,
  maxHandshakesPerHost: 1_250,
  maxHandshakesPerNetwork: 2_500,
  halfOpenGrace: 2_000,
  refusalsPerSource: 5,
  refusalPeriod: 10_000,
  refusalsPerSecond: 100,
  maxRefusalSources: 1_000,
  maxAssociations: 1_000_000,
  idleLimit: 90 * 86_400_000,
  maxMessage: 8_192,
  maxRecords: 16,
  maxAhead: 10,
  maxReassembly: 16_384,
  maxPieces: 64,
  maxDeferred: 10,
  maxHeld: 16,
  stride: 1_024,
  forgeryLimit: 2 ** 20,
  sequenceLimit: 2 ** 48 - 2 ** 16,
  requireExtendedMasterSecret: true,
  recordSizeLimit: 0,
  maxFragmentLength: 0,
  amplification: 3,
  routabilityCheck: "basic",
  challengeTimeout: 1_000,
  doubtfulClaim: 10_000,
  maxChallenges: 3,
};

/** RFC 7925 11: for networks whose round trips take seconds. */
export const CONSTRAINED: Partial<DtlsTuning> = { initialTimeout: 9_000 };
