import { utf8 } from "@godwit/base";
import { Code } from "./codes.ts";
import type { EndpointSession } from "./endpoint-session.ts";
import { encodeMessage } from "./message-codec.ts";
import type { ACK, CON, NON, Option, Request, Response } from "./message.ts";
import { OptionNumber } from "./option-numbers.ts";
import { optionName } from "./option-table.ts";
import { findOption, response, uintOption, withOption, withoutOption } from "./options.ts";
import { bodyLength } from "./options-codec.ts";

// What the roles know of requests and answers by looking at them.

/** An answer as a message. */
export function encodeAnswer(
  type: typeof ACK | typeof CON | typeof NON,
  mid: number,
  token: Uint8Array,
  { code, options, payload }: Response,
): Uint8Array {
  return encodeMessage({ type, code, mid, token, options, payload });
}

/** What the protection of a message costs. */
export function overhead(
  bytes: Uint8Array,
  session: EndpointSession,
  token: Uint8Array,
  { options, payload }: Response,
): number {
  if (!session.isProtected) return 0;
  return bytes.length - HEADER_LENGTH - token.length - bodyLength(options, payload);
}

export function hasBlock(options: readonly Option[]): boolean {
  for (let i = options.length - 1; i >= 0; i--) {
    const { number } = options[i]!; // 0 <= i < length
    if (number < OptionNumber.Block2) return false;
    if (number === OptionNumber.Block1 || number === OptionNumber.Block2) return true;
  }
  return false;
}

/** RFC 7252 5.1, RFC 8132 2. */
export function isSafe(code: number): boolean {
  return code === Code.GET || code === Code.FETCH;
}

/** RFC 7641 2, RFC 8132 2.4. */
export function observable(code: number): boolean {
  return code === Code.GET || code === Code.FETCH;
}

export function isBlock(response: Response): boolean {
  return (
    findOption(response.options, OptionNumber.Block2) !== undefined ||
    findOption(response.options, OptionNumber.Block1) !== undefined
  );
}

/** Changes nothing, and its answer may be large (RFC 7252 5.8.1, RFC 8132 2). */
export function asksOnly({ code }: Request): boolean {
  return code === Code.GET || code === Code.FETCH;
}

/** Which option we cannot do without understanding it, in words (RFC 7252 5.5.2). */
export function refusedOption(option: number): Response {
  return response(Code.BadOption, { payload: utf8(`${option}: ${optionName(option)}`) });
}

/** A body joined from blocks is the state the notification announced. */
export function withObserve(response: Response, value: number): Response {
  const options = withoutOption(response.options, OptionNumber.Observe);
  return { ...response, options: withOption(options, uintOption(OptionNumber.Observe, value)) };
}

export const HEADER_LENGTH = 4;
