import { FormatError, Reader, Writer } from "@godwit/base";

/**
 *   msg_type(1) cookie(8)                                                                  RFC 9853 4
 */
export type RoutabilityMessage = {
  readonly type: "challenge" | "response" | "drop";
  readonly cookie: Uint8Array;
};

/** Undefined for a message type of the future, which is to be ignored. */
export function decodeRoutability(content: Uint8Array): RoutabilityMessage | undefined {
  const reader = new Reader(content);
  const type = TYPES[reader.u8()];
  if (type === undefined) return undefined;
  const cookie = reader.take(COOKIE_LENGTH);
  reader.end("return routability check");
  return { type, cookie };
}

export function encodeRoutability(message: RoutabilityMessage): Uint8Array {
  if (message.cookie.length !== COOKIE_LENGTH) throw new FormatError("a cookie has 8 bytes");
  return new Writer(9).u8(TYPES.indexOf(message.type)).append(message.cookie).bytes();
}

export const COOKIE_LENGTH = 8;
const TYPES = ["challenge", "response", "drop"] as const;
