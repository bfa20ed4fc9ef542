import { EMPTY, FormatError, UsageError } from "@godwit/base";
import { isRequest, isResponse } from "./codes.ts";
import { ACK, CON, RST, type Message, type MessageType } from "./message.ts";
import {
  MAX_EXTENDED,
  bodyLength,
  extension,
  nibble,
  put,
  scanBody,
  writeBody,
  writeExtension,
} from "./options-codec.ts";

//   0                   1                   2                   3
//   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//  |Ver| T |  TKL  |      Code     |          Message ID           |
//  |   Token (if any, TKL bytes) ...
//  |   Options (if any) ...
//  |1 1 1 1 1 1 1 1|    Payload (if any) ...                         RFC 7252 3

/** Why bytes are no CoAP message; few and fixed, fit to be counted. */
export type MessageFormatReason =
  /** Fewer than 4 bytes. */
  | "short"
  /** A version other than 1. */
  | "version"
  /** Code class 1, 6 or 7. */
  | "code"
  /** An empty message with more than its header. */
  | "empty"
  /** A type that cannot carry this code: an ACK with a request, an empty NON, an RST that is not empty. */
  | "type"
  /** Token length reserved, above our limit, or past the end. */
  | "token"
  /** Options or payload. */
  | "options";

/** Why bytes are no CoAP message, and how to answer them. */
export class MessageFault {
  readonly reason: MessageFormatReason;
  /** For people. */
  readonly detail: string;
  /** Known unless the reason is "short" or "version". */
  readonly type: MessageType | undefined;
  /** Known unless the reason is "short" or "version". */
  readonly mid: number | undefined;

  constructor(reason: MessageFormatReason, detail: string, type?: MessageType, mid?: number) {
    this.reason = reason;
    this.detail = detail;
    this.type = type;
    this.mid = mid;
  }
}

/** These bytes are no CoAP message, and this is how to answer them. */
export class MessageFormatError extends FormatError {
  readonly reason: MessageFormatReason;
  /**
   * Say nothing at all: the version is not ours (RFC 7252 3), there is no message id to answer to, or it is an ACK or RST
   * (4.2). Otherwise a CON gets an RST with `mid`, and a NON may get one (4.3).
   */
  readonly silent: boolean;
  /** Known unless the reason is "short" or "version". */
  readonly type: MessageType | undefined;
  /** Known unless the reason is "short" or "version". */
  readonly mid: number | undefined;

  constructor({ reason, detail, type, mid }: MessageFault) {
    super(detail);
    this.reason = reason;
    this.silent = type === undefined || type === ACK || type === RST;
    this.type = type;
    this.mid = mid;
  }
}

/**
 * Reads one datagram (RFC 7252 3, RFC 8974 2.1). Token, option values and payload are views of `bytes`. Unknown options
 * are kept: see `checkOptions`.
 *
 * @param maxTokenLength longest token accepted, in bytes; up to 65804. Above 8 it is for peers known to send extended tokens.
 * @throws MessageFormatError and nothing else
 */
export function decodeMessage(bytes: Uint8Array, maxTokenLength: number = PLAIN_TOKEN): Message {
  const scanned = scanMessage(bytes, maxTokenLength);
  if (scanned instanceof MessageFault) throw new MessageFormatError(scanned);
  return scanned;
}

/** {@link decodeMessage} with the fault as its result: anybody can send what is no message, and an error for each costs. */
export function scanMessage(bytes: Uint8Array, maxTokenLength: number): Message | MessageFault {
  const end = bytes.length;
  if (end < 4) return new MessageFault("short", `${end} bytes are no message`);
  const first = bytes[0]!; // there are four
  const code = bytes[1]!;
  const mid = (bytes[2]! << 8) | bytes[3]!;
  if (first >>> 6 !== VERSION) return new MessageFault("version", `version ${first >>> 6}`);
  const type = ((first >>> 4) & 3) as MessageType; // two bits, four types

  if (code === 0) {
    if (end !== 4 || (first & 0x0f) !== 0)
      return new MessageFault("empty", "empty message with content", type, mid);
    if (!carries(type, code)) return wrongType(type, code, mid);
    return { type, code, mid, token: EMPTY, options: NO_OPTIONS, payload: EMPTY };
  }
  if (!isRequest(code) && !isResponse(code))
    return new MessageFault("code", `code class ${code >>> 5} is reserved`, type, mid);
  if (!carries(type, code)) return wrongType(type, code, mid);

  let at = 4;
  let length = first & 0x0f;
  if (length >= 13) {
    if (length === 15) return new MessageFault("token", "token length 15", type, mid);
    const width = length - 12;
    if (at + width > end) return new MessageFault("token", "token length ends early", type, mid);
    length = extension(bytes, at, width);
    at += width;
  }
  if (length > maxTokenLength)
    return new MessageFault("token", `token of ${length} bytes`, type, mid);
  const body = at + length;
  if (body > end) return new MessageFault("token", "token ends early", type, mid);
  const token = length === 0 ? EMPTY : bytes.subarray(at, body);

  const rest = scanBody(bytes, body);
  if (typeof rest === "string") return new MessageFault("options", rest, type, mid);
  return { type, code, mid, token, options: rest.options, payload: rest.payload };
}

/**
 * The datagram of a message; the inverse of {@link decodeMessage}, byte for byte. Uses the extended token length of
 * RFC 8974 for tokens above 12 bytes.
 *
 * @throws UsageError for a message that `decodeMessage` would refuse, and for options out of order
 */
export function encodeMessage(message: Message): Uint8Array {
  const { type, code, mid, token, options, payload } = message;
  const tokenLength = token.length;
  if (!carries(type, code) || !Number.isInteger(code))
    throw new UsageError(`no message of type ${type} has code ${code}`);
  if (!(mid >= 0 && mid <= 0xffff) || !Number.isInteger(mid))
    throw new UsageError(`no message id: ${mid}`);
  if (tokenLength > MAX_EXTENDED) throw new UsageError(`token of ${tokenLength} bytes`);
  if (code === 0 && tokenLength + options.length + payload.length > 0)
    throw new UsageError("empty message with content");

  const extra = tokenLength < 13 ? 0 : tokenLength < 269 ? 1 : 2;
  const out = new Uint8Array(4 + extra + tokenLength + bodyLength(options, payload));
  out[0] = (VERSION << 6) | (type << 4) | nibble(tokenLength);
  out[1] = code;
  out[2] = mid >>> 8;
  out[3] = mid;
  const at = extra === 0 ? 4 : writeExtension(out, 4, tokenLength);
  writeBody(out, put(out, at, token), options, payload);
  return out;
}

/** RFC 7252 4.3, table 1: which type of message carries what. */
function carries(type: MessageType, code: number): boolean {
  if (isRequest(code)) return type <= NON_OR_CON;
  if (isResponse(code)) return type !== RST;
  return code === 0 && (type === CON || type >= ACK);
}

function wrongType(type: MessageType, code: number, mid: number): MessageFault {
  return new MessageFault("type", `type ${type} cannot carry code ${code}`, type, mid);
}

const VERSION = 1;
/** RFC 7252 3: lengths 9 to 15 are reserved unless both sides know RFC 8974. */
const PLAIN_TOKEN = 8;
/** The two types that carry requests are the two lowest. */
const NON_OR_CON = 1;
const NO_OPTIONS: Message["options"] = [];
