/** Errors to `instanceof`, made without the constructor of Error, which notes the stack. */
const Stackless: new (message: string) => Error = withoutStack();

/**
 * The peer sent bytes that its specification forbids. Caught once, in a machine's `handle`. It has a message and no stack:
 * anybody can send such bytes, and a stack would cost more than all that is done about them.
 */
export class FormatError extends Stackless {
  override readonly name = "FormatError";
}

/** Our caller broke a documented rule of the interface. Always escapes: it is a bug to be mended. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  /** Stays the same from release to release, where the words may not. */
  readonly code: UsageErrorCode;

  constructor(message: string, code: UsageErrorCode = "USAGE", options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * - `USAGE`: an argument cannot be; the message says which and why.
 * - `INVALID_OPTION`: an option, or the name of an event, is unknown, missing, of the wrong type or out of range.
 * - `INVALID_PATH`: the text is no LwM2M path.
 * - `ALREADY_STARTED`: `start` was called while it runs.
 * - `NOT_STARTED`: what was asked for needs a start first.
 * - `OBSERVE_CONFLICT`: the path is observed with other attributes.
 * - `USED_SECRET`: the fixed OSCORE context of a credential would use nonces again; the message says what to do.
 */
export const USAGE_ERROR_CODES = [
  "USAGE",
  "INVALID_OPTION",
  "INVALID_PATH",
  "ALREADY_STARTED",
  "NOT_STARTED",
  "OBSERVE_CONFLICT",
  "USED_SECRET",
] as const;

export type UsageErrorCode = (typeof USAGE_ERROR_CODES)[number];

/** Cryptography of ours gave a wrong answer at the start. */
export class SelfTestError extends Error {
  override readonly name = "SelfTestError";
  readonly code = "SELF_TEST_FAILED";
}

function withoutStack(): new (message: string) => Error {
  const made = function (this: Error, message: string): void {
    Object.defineProperty(this, "message", { value: message, configurable: true, writable: true });
  };
  made.prototype = Object.create(Error.prototype) as Error;
  return made as unknown as new (message: string) => Error;
}
