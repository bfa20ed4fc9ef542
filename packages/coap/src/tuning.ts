import { UsageError } from "@godwit/base";

/** Every parameter and limit of this package. Durations in ms, sizes in bytes. Derived values are the functions below. */
export type CoapTuning = {
  /** ACK_TIMEOUT (RFC 7252 4.8). */
  readonly ackTimeout: number;
  /** ACK_RANDOM_FACTOR: the first timeout is random between ackTimeout and ackTimeout times this. */
  readonly ackRandomFactor: number;
  /** MAX_RETRANSMIT: transmissions after the first one. */
  readonly maxRetransmit: number;
  /** NSTART: requests and separate responses in flight per session (RFC 7252 4.7). */
  readonly nstart: number;
  /** DEFAULT_LEISURE (RFC 7252 8.2). Multicast is not answered, so nothing waits for it. */
  readonly defaultLeisure: number;
  /** PROBING_RATE in bytes per second, towards a peer that does not answer (RFC 7252 4.7). */
  readonly probingRate: number;
  /** MAX_LATENCY: how long a datagram may be under way (RFC 7252 4.8.2). */
  readonly maxLatency: number;
  /** After this long without an answer of the application a CON request gets an empty ACK (RFC 7252 5.2.2). */
  readonly processingDelay: number;
  /** How long the application may take to answer before the peer gets 5.03. */
  readonly answerLifetime: number;

  /** Length of our tokens. 1 is the shortest that tells requests apart; 4 or more keeps off-path guessers out (RFC 7252 11.4). */
  readonly tokenLength: number;
  /** The only request of a session goes without a token (RFC 7252 5.3.1). Only for peers that answer piggybacked. */
  readonly emptyToken: boolean;
  /** The longest token of a peer that is echoed (RFC 8974); longer is a message format error. */
  readonly maxTokenLength: number;
  /** How long a NON request waits for its answer; longer if PROBING_RATE wants it. */
  readonly nonAnswerTimeout: number;
  /** How long a client waits for the separate answer after the empty ACK. */
  readonly separateAnswerTimeout: number;

  /** Requests of ours per session, in flight and queued; one more fails with "full". */
  readonly maxRequestsPerSession: number;
  /** The same over all sessions. */
  readonly maxRequests: number;
  /**
   * Requests of one peer that the application has not answered yet; one more gets 5.03. Also separate answers that wait
   * for its ACK; one more goes as NON.
   */
  readonly maxPendingPerSession: number;
  /** The same over all peers. */
  readonly maxPending: number;

  /** What deduplication keeps, over all sessions: exchanges and bytes of their answers. Then the oldest goes first. */
  readonly maxReplies: number;
  readonly maxReplyBytes: number;
  /** The same for one session. */
  readonly maxRepliesPerSession: number;
  readonly maxReplyBytesPerSession: number;
  /** Exchanges of unsafe methods remembered past EXCHANGE_LIFETIME, by their whole bytes. 0: none. */
  readonly maxUnsafeKept: number;
  /** How long they are remembered. */
  readonly unsafeLifetime: number;

  /** Bytes to an unproven path per byte from it (RFC 9175 2.4). */
  readonly amplificationFactor: number;
  /** How old an Echo value may be to prove a path (RFC 9175 2.3). */
  readonly echoLifetime: number;
  /** How often one request is repeated because the server asks for an Echo. */
  readonly maxEchoRepeats: number;

  /** Raw UDP: sessions nobody has pinned. One more ends the one that was silent longest. */
  readonly maxUnpinnedSessions: number;
  /** Raw UDP: how long a session nobody has pinned outlives its last datagram. Longer than EXCHANGE_LIFETIME. */
  readonly sessionLifetime: number;

  /** Block size exponent we offer and choose: 6 is 1024 bytes (RFC 7959 2.2). */
  readonly preferredSzx: number;
  /** Server role: the longest body taken; longer gets 4.13. */
  readonly maxRequestBody: number;
  /** Client role: the longest body of an answer. */
  readonly maxResponseBody: number;
  /**
   * A message with a large payload, or a question for one, that got no answer after so many transmissions goes on in
   * smaller blocks: the path may not carry it.
   */
  readonly shrinkAfter: number;
  /** For how long a path that carried only small blocks is spared larger ones. */
  readonly pathSizeLifetime: number;
  /** How long an unfinished upload or an answer not fetched to its end is kept. */
  readonly partialBodyLifetime: number;
  /** Unfinished uploads and answers not fetched to their end: per session, over all, and their bytes over all. */
  readonly maxPartialBodiesPerSession: number;
  readonly maxPartialBodies: number;
  readonly maxPartialBytes: number;
  /** Their bytes in one session. */
  readonly maxPartialBytesPerSession: number;
  /**
   * Protected messages that come in outer blocks (RFC 8613 4.1.3.4.2), which are verified only once they are whole: being
   * put together per path, in both roles over all, and their bytes in the server role; the oldest of a path goes first.
   */
  readonly maxOuterBodiesPerSession: number;
  readonly maxOuterBodies: number;
  readonly maxOuterBytes: number;
  /** How long the next block of one is waited for. */
  readonly outerBodyLifetime: number;
  /** Client role: how often one transfer begins again because the peer lost blocks or its resource changed. */
  readonly maxBlockRestarts: number;

  /** Observations a peer may hold at us: per session and over all. One more is answered without observing. */
  readonly maxObservationsPerSession: number;
  readonly maxObservations: number;
  /** A notification at least this often is confirmable (RFC 7641 4.5). */
  readonly confirmableNotifyInterval: number;
  /** Between non-confirmable notifications to a peer whose round-trip time is not known (RFC 7641 4.5.1). */
  readonly nonNotifyInterval: number;
  /** So many of them may go at once before that average holds. */
  readonly nonNotifyBurst: number;
  /** After this long any notification is newer (RFC 7641 3.4). */
  readonly notificationReorderSpan: number;
};

/** The defaults, with what differs from them. Throws UsageError for what no peer could live with. */
export function coapTuning(overrides: Partial<CoapTuning> = {}): CoapTuning {
  const tuning: CoapTuning = { ...DEFAULTS, ...overrides };
  if (tuning.ackTimeout <= 0) throw new UsageError("ackTimeout must be above 0");
  if (tuning.ackRandomFactor < 1) throw new UsageError("ackRandomFactor must be at least 1");
  if (tuning.nstart < 1) throw new UsageError("nstart must be at least 1");
  if (tuning.tokenLength < 1 || tuning.tokenLength > 8)
    throw new UsageError("tokenLength must be 1 to 8");
  if (tuning.preferredSzx < 0 || tuning.preferredSzx > 6)
    throw new UsageError("preferredSzx must be 0 to 6");
  if (tuning.shrinkAfter < 1) throw new UsageError("shrinkAfter must be at least 1");
  if (tuning.sessionLifetime < exchangeLifetime(tuning))
    throw new UsageError("sessionLifetime must not be below EXCHANGE_LIFETIME");
  return tuning;
}

/** MAX_TRANSMIT_SPAN: from the first transmission of a CON to its last (RFC 7252 4.8.2). */
export function maxTransmitSpan(t: CoapTuning): number {
  return t.ackTimeout * (2 ** t.maxRetransmit - 1) * t.ackRandomFactor;
}

/** MAX_TRANSMIT_WAIT: from the first transmission of a CON to giving up (RFC 7252 4.8.2). */
export function maxTransmitWait(t: CoapTuning): number {
  return t.ackTimeout * (2 ** (t.maxRetransmit + 1) - 1) * t.ackRandomFactor;
}

/** MAX_LATENCY (RFC 7252 4.8.2). */
export function maxLatency(t: CoapTuning): number {
  return t.maxLatency;
}

/** MAX_RTT (RFC 7252 4.8.2); PROCESSING_DELAY is taken as ACK_TIMEOUT there. */
export function maxRtt(t: CoapTuning): number {
  return 2 * t.maxLatency + t.ackTimeout;
}

/** EXCHANGE_LIFETIME: how long the message id of a CON is not free (RFC 7252 4.8.2). */
export function exchangeLifetime(t: CoapTuning): number {
  return maxTransmitSpan(t) + maxRtt(t);
}

/** NON_LIFETIME: how long the message id of a NON is not free (RFC 7252 4.8.2). */
export function nonLifetime(t: CoapTuning): number {
  return maxTransmitSpan(t) + t.maxLatency;
}

const DEFAULTS: CoapTuning = {
  ackTimeout: 2_000,
  ackRandomFactor: 1.5,
  maxRetransmit: 4,
  nstart: 1,
  defaultLeisure: 5_000,
  probingRate: 1,
  maxLatency: 100_000,
  processingDelay: 1_000,
  answerLifetime: 240_000,

  tokenLength: 1,
  emptyToken: false,
  maxTokenLength: 1_024,
  nonAnswerTimeout: 10_000,
  separateAnswerTimeout: 120_000,

  maxRequestsPerSession: 64,
  maxRequests: 200_000,
  maxPendingPerSession: 64,
  maxPending: 100_000,

  maxReplies: 500_000,
  maxReplyBytes: 64 * 1_048_576,
  maxRepliesPerSession: 8_192,
  maxReplyBytesPerSession: 512 * 1_024,
  maxUnsafeKept: 0,
  unsafeLifetime: 86_400_000,

  amplificationFactor: 3,
  echoLifetime: 120_000,
  maxEchoRepeats: 2,

  maxUnpinnedSessions: 50_000,
  sessionLifetime: 300_000,

  preferredSzx: 6,
  maxRequestBody: 65_536,
  maxResponseBody: 1_048_576,
  shrinkAfter: 2,
  pathSizeLifetime: 600_000,
  partialBodyLifetime: 247_000,
  maxPartialBodiesPerSession: 4,
  maxPartialBodies: 4_096,
  maxPartialBytes: 32 * 1_048_576,
  maxPartialBytesPerSession: 1_048_576,
  maxOuterBodiesPerSession: 4,
  maxOuterBodies: 1_024,
  maxOuterBytes: 4 * 1_048_576,
  outerBodyLifetime: 60_000,
  maxBlockRestarts: 2,

  maxObservationsPerSession: 256,
  maxObservations: 100_000,
  confirmableNotifyInterval: 86_400_000,
  nonNotifyInterval: 3_000,
  nonNotifyBurst: 4,
  notificationReorderSpan: 128_000,
};
