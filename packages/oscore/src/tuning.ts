import { UsageError } from "@godwit/base";

/** Every parameter and limit of this package. Durations in ms, sizes in bytes. */
export type OscoreTuning = {
  /** Replay window, a multiple of 32 (RFC 8613 3.2.2: 32). */
  readonly replayWindow: number;
  /** Contexts tried for one message, when several share a kid. */
  readonly maxTrials: number;
  /** Longest ID Context taken from a peer; R2 comes in front of it. */
  readonly maxIdContext: number;
  /** Longest ciphertext: a proxy may have put it together from outer blocks (MAX_UNFRAGMENTED_SIZE, 4.1.3.4.2). */
  readonly maxUnfragmented: number;

  /** Sequence numbers reserved by one write to the store: the first stride, and the longest. */
  readonly firstStride: number;
  readonly maxStride: number;
  /** A stride used up faster than this makes the next one twice as long. */
  readonly strideTime: number;
  /**
   * The store knows of a peer's Partial IVs before they are accepted, so that after a crash new ones are known to be new, and no
   * peer has to know the Echo. How far ahead, at most; undefined: not at all. For who speaks seldom the store is not ahead, and
   * each request waits for it.
   */
  readonly maxWindowStride: number | undefined;
  /**
   * Writes for it in a second, of all sessions together; beyond them the store is `busyWindowStride` ahead of each, so that it
   * costs a busy server next to nothing.
   */
  readonly windowWritesPerSecond: number;
  readonly busyWindowStride: number;
  /** A window stride used up faster than this makes the next one twice as long; who says nothing for so long has none. */
  readonly windowStrideTime: number;
  /** How long after a failed write the next is tried. */
  readonly storeRetry: number;
  /** Requests of one session, and of all, that wait for the store; one more is dropped, and comes again. */
  readonly maxHeldPerSession: number;
  readonly maxHeld: number;

  /** How old an Echo value may be (B.1.2). */
  readonly echoLifetime: number;

  /** R2 values remembered per client; beyond it they carry their own proof (B.2.1). */
  readonly maxNonces: number;
  /** How long a run of B.2 may take. */
  readonly runLifetime: number;
  /** Bytes of R1, R2 and R3; at least 8 (B.2). */
  readonly nonceLength: number;
  /** What request 1 of B.2 carries: an empty GET, or the request itself, which the server refuses in any case. */
  readonly firstRequest: "probe" | "application";
  /** How often a server that wants new keys asks a client that goes on with the old ones. */
  readonly maxRenewals: number;
  /** How long responses under replaced keys are still sent and accepted: EXCHANGE_LIFETIME (RFC 7252 4.8.2). */
  readonly retiredLifetime: number;

  /** Part of a key's allowance, of sequence numbers and by the AEAD, after which a new key is wanted. */
  readonly renewAt: number;
  /** What reaching the allowance of forgeries does: they are made by others, who must not be able to end a session. */
  readonly atForgeryLimit: "report" | "stop";

  /** Unprotected answers to what cannot be processed (8.2): per second, and at once. */
  readonly errorsPerSecond: number;
  readonly errorBurst: number;
  /** Puts the RFC's words into them, and Max-Age 0. */
  readonly diagnostics: boolean;

  /** Observations whose notifications are recognized from other addresses. */
  readonly maxObservations: number;
};

/** The defaults, with what the caller wants different. Throws UsageError for a combination that cannot work. */
export function oscoreTuning(changes: Partial<OscoreTuning> = {}): OscoreTuning {
  const tuning: OscoreTuning = { ...DEFAULTS, ...changes };
  if (!(tuning.replayWindow >= 32) || tuning.replayWindow % 32 !== 0)
    throw new UsageError("replayWindow is a multiple of 32");
  if (!(tuning.nonceLength >= 8 && tuning.nonceLength <= 16))
    throw new UsageError("nonceLength is 8 to 16");
  if (!(tuning.firstStride >= 2 && tuning.maxStride >= tuning.firstStride))
    throw new UsageError("strides are at least 2, and maxStride no shorter than firstStride");
  if (!(tuning.renewAt > 0 && tuning.renewAt <= 1)) throw new UsageError("renewAt is in (0, 1]");
  if (!(tuning.maxTrials >= 1 && tuning.maxNonces >= 1 && tuning.maxHeldPerSession >= 1))
    throw new UsageError("limits are at least 1");
  return tuning;
}

const DEFAULTS: OscoreTuning = {
  replayWindow: 32,
  maxTrials: 4,
  maxIdContext: 64,
  maxUnfragmented: 4_096,
  firstStride: 64,
  maxStride: 4_096,
  strideTime: 60_000,
  maxWindowStride: undefined,
  windowWritesPerSecond: 500,
  busyWindowStride: 64,
  windowStrideTime: 3_000,
  storeRetry: 1_000,
  maxHeldPerSession: 4,
  maxHeld: 10_000,
  echoLifetime: 60_000,
  maxNonces: 4,
  runLifetime: 60_000,
  nonceLength: 8,
  firstRequest: "probe",
  maxRenewals: 3,
  retiredLifetime: 247_000,
  renewAt: 0.5,
  atForgeryLimit: "report",
  errorsPerSecond: 100,
  errorBurst: 100,
  diagnostics: false,
  maxObservations: 1_000_000,
};
