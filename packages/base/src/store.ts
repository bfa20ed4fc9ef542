/** One change to durable state. A table is a namespace, `value` undefined deletes the key. */
export type StoreChange = {
  readonly table: string;
  readonly key: string;
  readonly value: Uint8Array | undefined;
};

/** What is promised must be durable first: a machine hands out `store` and goes on at the matching `stored`. */
export type StoreOutput = {
  readonly type: "store";
  readonly ticket: number;
  readonly changes: readonly StoreChange[];
};

/** Tickets come back in the order they were given. `ok` false: nothing of it was written. */
export type StoredInput = {
  readonly type: "stored";
  readonly ticket: number;
  readonly ok: boolean;
  /** Why not, in a few words that may be shown to devices and users. */
  readonly why?: string;
};
