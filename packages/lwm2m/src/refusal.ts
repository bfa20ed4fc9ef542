import { Code, response, type Response } from "@godwit/coap";
import { FormatError } from "@godwit/base";

/** The answer to a request that cannot be granted: a response code of class 4 or 5 and a sentence for whoever reads the log. */
export type Refusal = {
  readonly type: "refused";
  readonly code: number;
  /** Goes into the payload (RFC 7252 5.5.2). Names what was wrong; holds nothing that the peer could not know. */
  readonly diagnostic: string;
  /** `badRequest` unless given. */
  readonly reason?: RefusalReason;
  /** Made beforehand, for what strangers can have as often as they like. */
  readonly answer?: Response;
};

/**
 * Which rule a registration request broke.
 *
 * - `badRequest`: it is no request that LwM2M knows; the diagnostic says what is wrong with it.
 * - `noSec`: the peer has proven nothing, and NoSec is switched off.
 * - `endpointHasCredentials`: the peer has proven nothing, and the endpoint has credentials.
 * - `endpointMismatch`: the endpoint it names is not the one that its credential belongs to.
 * - `noEndpoint`: its credential belongs to no endpoint any more.
 * - `notRegistered`: an Update or De-register of a registration that is not there.
 * - `unknownProfile`: it names an object list that the server does not have.
 * - `endpointTaken`: another peer is registered under this name and answers; nobody has proven anything.
 * - `busy`: the name is being checked.
 * - `full`: there is no room for another registration.
 * - `storage`: the store has not taken it.
 */
export type RefusalReason =
  | "badRequest"
  | "noSec"
  | "endpointHasCredentials"
  | "endpointMismatch"
  | "noEndpoint"
  | "notRegistered"
  | "unknownProfile"
  | "endpointTaken"
  | "busy"
  | "full"
  | "storage";

export function refused(code: number, diagnostic: string, reason?: RefusalReason): Refusal {
  const refusal = { type: "refused", code, diagnostic } as const;
  return reason === undefined ? refusal : { ...refusal, reason };
}

/** One that is always the same. */
export function standing(refusal: Refusal): Refusal {
  return { ...refusal, answer: answerOf(refusal) };
}

/** The answer that carries it. */
export function answerOf({ code, diagnostic, answer }: Refusal): Response {
  if (answer !== undefined) return answer;
  const later = code === Code.ServiceUnavailable ? { maxAge: RETRY_AFTER } : {};
  return response(code, { payload: diagnostic, ...later });
}

/** s, for a device that was refused for want of room. */
export const RETRY_AFTER = 60;

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
