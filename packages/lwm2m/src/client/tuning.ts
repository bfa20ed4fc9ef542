/** Every number of the client machine. Durations in ms unless the name says otherwise. */
export type ClientTuning = {
  /** An Update leaves this long before the lifetime ends, or at half of it: room for its retransmissions (MAX_TRANSMIT_WAIT). */
  readonly updateMargin: number;
  /** Updates of many devices that started together drift apart by up to this much, at most a tenth of the lifetime. */
  readonly updateJitter: number;
  /** How long a device in queue mode listens after its last message (OMA TS Core 6.5: MAX_TRANSMIT_WAIT). */
  readonly awakeWindow: number;
  /** Back-off grows by up to this part, so that devices that failed together do not return together. */
  readonly retryJitter: number;
  /** When all attempts of /1/x/17 and 20 were in vain and nobody bootstraps us: how long until another. 0: never. */
  readonly exhaustedRetry: number;
  /** How long the application may take to perform an operation. */
  readonly performTimeout: number;

  /** Keep-alive where nothing is known about the NAT, and how far chance moves any keep-alive. */
  readonly fallbackInterval: number;
  readonly keepAliveJitter: number;
  /** Part of the proven binding time that is used. */
  readonly safety: number;
  /** Seconds: what the search for the binding time begins with, and the longest it asks for. */
  readonly firstProbe: number;
  readonly longestProbe: number;
  /** Seconds: the search ends when it is this close. */
  readonly probePrecision: number;
  /** Every so many signs of life one is a probe: what was learned may have changed. */
  readonly checkEvery: number;
  /** How much later than asked an answer may come: two retransmissions of the server. */
  readonly probeSlack: number;

  /** So often at least a notification is confirmable where a restart, of a NAT or the server, can make all of them be lost. */
  readonly proofInterval: number;
  /** The same for a session that the server knows wherever we are: only a server that lost it can make all be lost. */
  readonly followedProofInterval: number;
  /** No NAT forgets sooner. After a longer silence, and where nothing is known of the NAT, a notification is confirmable. */
  readonly shortestBinding: number;
  /** The server wants none of what it observed (RST): so long between two registrations because of that, at least. */
  readonly renewInterval: number;
  /** Values of Observe that are reserved by one write to the store, so that a restart goes on above all that were used. */
  readonly observeStride: number;

  /** Orders that must not be obeyed twice, and whose repetition is known again after a restart. */
  readonly maxDeeds: number;
  /** Observations by the server; one more is answered as a plain Read (RFC 7641 4.1). */
  readonly maxObservations: number;
  /** Operations the application has not finished; one more is answered 5.03. */
  readonly maxPerforms: number;
  /** Paths with attached attributes; one more is answered 5.00. */
  readonly maxAttributePaths: number;
};

export const clientTuning: ClientTuning = {
  updateMargin: 93_000,
  updateJitter: 30_000,
  awakeWindow: 93_000,
  retryJitter: 0.25,
  exhaustedRetry: 900_000,
  performTimeout: 60_000,
  fallbackInterval: 25_000,
  keepAliveJitter: 0.1,
  safety: 0.8,
  firstProbe: 30,
  longestProbe: 300,
  probePrecision: 5,
  checkEvery: 10,
  probeSlack: 10_000,
  proofInterval: 300_000,
  followedProofInterval: 3_600_000,
  shortestBinding: 10_000,
  renewInterval: 60_000,
  observeStride: 64,
  maxDeeds: 16,
  maxObservations: 64,
  maxPerforms: 32,
  maxAttributePaths: 256,
};

/** Seconds. Nothing keeps a NAT open more often than this: below it a device drains its battery and the network (RFC 8085 3.5). */
export const SHORTEST_KEEP_ALIVE = 15;
