/** A device could not be started, or was stopped meanwhile. */
export class StartError extends Error {
  override readonly name = "StartError";
  /** Stays the same from release to release. */
  readonly code: StartErrorCode;

  constructor(code: StartErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

export const START_ERROR_CODES = ["SERVER_NOT_FOUND", "STOPPED"] as const;

export type StartErrorCode = (typeof START_ERROR_CODES)[number];

/** What went wrong while a device ran; see the event `fault`. */
export type FaultSource =
  /** A function of a resource: it threw, rejected, took too long, or what it gave does not fit. */
  | "read"
  | "write"
  | "execute"
  | "store"
  | "network"
  /** A bug of ours. */
  | "machine"
  | `listener of ${string}`;
