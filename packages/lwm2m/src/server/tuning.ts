/** Every number of the server machine. Durations in ms unless the name says otherwise. */
export type ServerTuning = {
  /** Whether a peer that proved nothing may register. */
  readonly nosec: boolean;
  /** Characters of a Location id where only its secrecy protects it. */
  readonly openLocationLength: number;
  /** Where the session is authenticated; more when those are taken. */
  readonly boundLocationLength: number;
  /** How long after its lifetime a registration is still kept. */
  readonly lifetimeGrace: number;
  /** After a restart no registration ends before this much time has passed: its device could not update. */
  readonly restartGrace: number;
  /** So many devices are asked at once after a start, and as many after each pause, if an earlier run left something to ask. */
  readonly startAsks: number;
  readonly startPause: number;
  /** How long a device in queue mode listens after its last message (LwM2M 1.2 6.5: MAX_TRANSMIT_WAIT). */
  readonly awakeWindow: number;
  /** Silence after which a NAT may have forgotten the device, as long as nothing better is known. */
  readonly trustedBinding: number;
  /** No NAT is assumed to forget faster: a push lost earlier was lost for another reason. */
  readonly shortestBinding: number;
  /** How long an incumbent has to answer before an unproven newcomer may take its endpoint name. */
  readonly takeoverProbe: number;
  /** So many times a device may answer an order 5.03; then that is its answer. */
  readonly busyAttempts: number;
  /** A notification is due this long after pmax (MAX_TRANSMIT_WAIT), or so long after the last where there is no pmax. */
  readonly observationMargin: number;
  readonly observationSilence: number;
  /** So often a silent observation is asked for again; then only after this pause. */
  readonly observationAttempts: number;
  readonly observationRetry: number;
  /** How long an Observe of the server's own waits for its device. */
  readonly observationAskFor: number;
  /** Finished operations are kept this long, and so many of one endpoint. */
  readonly finishedFor: number;
  readonly finishedPerEndpoint: number;

  readonly maxRegistrations: number;
  /** Object lists that registrations share which announce the same. */
  readonly maxSharedLists: number;
  /** Registrations whose address nobody has proven; at the limit the oldest of them makes room. */
  readonly maxUnproven: number;
  /** Waiting operations of one endpoint, and of all. */
  readonly maxOperationsPerEndpoint: number;
  readonly maxOperations: number;
  readonly maxObservationsPerEndpoint: number;
  /** Programs and people that may want the same observation. */
  readonly maxOwnersPerObservation: number;
  /** Paths of one endpoint whose attached pmin and pmax are remembered. */
  readonly maxAttributePathsPerEndpoint: number;
  /** Delayed answers to binding probes running at once. */
  readonly maxProbes: number;
  /** The longest delay a binding probe may ask for, in s. */
  readonly maxProbeSeconds: number;
  readonly maxTakeovers: number;
  /** Records that a start could not restore and has set aside; those beyond stay where they are. */
  readonly maxQuarantined: number;
  /** Keys of fixed OSCORE contexts that are remembered after their credential is gone; two a credential. */
  readonly maxUsedContexts: number;
};

export const serverTuning: ServerTuning = {
  nosec: false,
  openLocationLength: 8,
  boundLocationLength: 1,
  lifetimeGrace: 0,
  restartGrace: 300_000,
  startAsks: 50,
  startPause: 100,
  awakeWindow: 93_000,
  trustedBinding: 25_000,
  shortestBinding: 10_000,
  takeoverProbe: 4_000,
  busyAttempts: 10,
  observationMargin: 93_000,
  observationSilence: 24 * 3_600_000,
  observationAttempts: 2,
  observationRetry: 3_600_000,
  observationAskFor: 7 * 24 * 3_600_000,
  finishedFor: 7 * 24 * 3_600_000,
  finishedPerEndpoint: 20,
  maxRegistrations: 1_000_000,
  maxSharedLists: 1_000,
  maxUnproven: 50_000,
  maxOperationsPerEndpoint: 100,
  maxOperations: 1_000_000,
  maxObservationsPerEndpoint: 64,
  maxOwnersPerObservation: 32,
  maxAttributePathsPerEndpoint: 64,
  maxProbes: 10_000,
  maxProbeSeconds: 600,
  maxTakeovers: 1_000,
  maxQuarantined: 10_000,
  maxUsedContexts: 100_000,
};
