/** The peer sent bytes that its specification forbids. Caught once, in a machine's `handle`. */
export class FormatError extends Error {
  override readonly name = "FormatError";
}

/** Our caller broke a documented rule of the interface. Always escapes: it is a bug to be mended. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
