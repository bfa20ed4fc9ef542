import { Code } from "@godwit/coap";
import { FormatError } from "@godwit/base";

/** The answer to a request that cannot be granted: a response code of class 4 or 5 and a sentence for whoever reads the log. */
export type Refusal = {
  readonly type: "refused";
  readonly code: number;
  /** Goes into the payload (RFC 7252 5.5.2). Names what was wrong; holds nothing that the peer could not know. */
  readonly diagnostic: string;
};

export function refused(code: number, diagnostic: string): Refusal {
  return { type: "refused", code, diagnostic };
}

/** A fault of the peer whose answer is another than 4.00. */
export class RefusalError extends FormatError {
  readonly code: number;

  constructor(code: number, diagnostic: string) {
    super(diagnostic);
    this.code = code;
  }
}

/** Runs what parses a request: its FormatError becomes the refusal. */
export function orRefused<T>(parse: () => T): T | Refusal {
  try {
    return parse();
  } catch (error) {
    if (error instanceof RefusalError) return refused(error.code, error.message);
    if (error instanceof FormatError) return refused(Code.BadRequest, error.message);
    throw error;
  }
}

/** A peer's text for a diagnostic: printable ASCII, cut. */
export function shown(text: string): string {
  const cut = text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
  return cut.replaceAll(/[^\x20-\x7e…]/g, "?");
}

const SHOWN = 40;
