/** Every figure of this package that is a choice, in one place. Bytes and milliseconds. */
export const IO_TUNING: IoTuning = {
  groupDelay: 0,
  storeQueueBytes: 64 * 1024 * 1024,
  storeCacheBytes: 64 * 1024 * 1024,
  storeCheckpointPages: 4_000,
  storeProbeEvery: 1_000,
  watchEvery: 1_000,
  backupGap: 5,
  receiveBuffer: 4 * 1024 * 1024,
  sendQueueBytes: 8 * 1024 * 1024,
  rescanEvery: 10_000,
  longestTimer: 2 ** 31 - 1,
  drainRounds: 256,
  faultPause: 1_000,
  markEvery: 10_000,
  storePatience: 30_000,
  counterEvery: 20,
};

export type IoTuning = {
  /** How long a write may wait for company before its group is committed. 0: until the turn ends. */
  readonly groupDelay: number;
  /** Writes beyond this many waiting bytes are refused: the disk does not keep up. */
  readonly storeQueueBytes: number;
  /** SQLite's page cache. */
  readonly storeCacheBytes: number;
  /** Pages in the log before they are moved into the database. */
  readonly storeCheckpointPages: number;
  /** While a store fails: how often it is tried whether it takes a write again. */
  readonly storeProbeEvery: number;
  /** How often a data directory is looked at: whether its files are still there, and whether a backup is asked for. */
  readonly watchEvery: number;
  /** ms between two groups of writes while a backup is made. */
  readonly backupGap: number;
  /** What the kernel is asked to hold for a socket while the event loop is busy. */
  readonly receiveBuffer: number;
  /** Datagrams are dropped while more than this waits in a socket's send queue. */
  readonly sendQueueBytes: number;
  /** How often the addresses of a wildcard are looked up again. */
  readonly rescanEvery: number;
  /** `setTimeout` takes 31 bits; what is further away is reached in several legs. */
  readonly longestTimer: number;
  /** Rounds of 32 datagrams a socket may deliver before a due timer runs all the same. */
  readonly drainRounds: number;
  /** After a fault in `wake` the next one waits this long, so that a bug is no busy loop. */
  readonly faultPause: number;
  /** How often the commit counter is noted outside the database, at most. */
  readonly markEvery: number;
  /** A store of the program's own that has not answered after this long has failed. */
  readonly storePatience: number;
  /** How often the number of the last confirmed commit is written beside the store, at most. */
  readonly counterEvery: number;
};
