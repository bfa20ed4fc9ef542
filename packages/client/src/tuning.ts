/** How long code and stores of a program may take, in ms. */
export type DeviceLimits = {
  /** For what measures a resource. Then the others of the same read are answered without it. */
  readonly readTimeout: number;
  /** For what writes or executes a resource. The server is answered 5.04 after `performTimeout` of the client's tuning. */
  readonly actTimeout: number;
  /** For `save` of a store, and for each write of its records. */
  readonly storeTimeout: number;
};

export const deviceLimits: DeviceLimits = {
  readTimeout: 10_000,
  actTimeout: 60_000,
  storeTimeout: 30_000,
};

/** How long `stop` waits for the server. */
export const PATIENCE = 3_000;
