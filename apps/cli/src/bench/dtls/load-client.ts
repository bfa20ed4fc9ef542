import type { Instant } from "@godwit/base";

/** What a client tells the run it takes part in. */
export type ClientEvents = {
  readonly opened: (client: LoadClient) => void;
  readonly failed: (client: LoadClient, why: string) => void;
  /** `code`: of the CoAP answer. */
  readonly answered: (client: LoadClient, code: number) => void;
};

/** One of the clients that take turns in a run. */
export type LoadClient = {
  events: ClientEvents | undefined;
  readonly waiting: boolean;
  askedAt: Instant;
  ask(message: Uint8Array, now: Instant): void;
  /** Once more, for an answer that did not come. */
  again(message: Uint8Array, now: Instant): void;
  receive(bytes: Uint8Array, now: Instant): void;
  wake(now: Instant): void;
};
