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
}

function withoutStack(): new (message: string) => Error {
  const made = function (this: Error, message: string): void {
    Object.defineProperty(this, "message", { value: message, configurable: true, writable: true });
  };
  made.prototype = Object.create(Error.prototype) as Error;
  return made as unknown as new (message: string) => Error;
}
