import { FormatError, Reader, Writer } from "@godwit/base";
import { type Extensions, readExtensions, writeExtensions } from "./extensions.ts";

/**
 *   version(2) random(32) session_id<0..32> cookie<0..255> cipher_suites<2..> compression<1..> [extensions]
 *                                                                                         RFC 6347 4.2.1
 */
export type ClientHello = {
  readonly version: number;
  readonly random: Uint8Array;
  readonly sessionId: Uint8Array;
  readonly cookie: Uint8Array;
  readonly suites: readonly number[];
  readonly compression: Uint8Array;
  readonly extensions: Extensions;
};

/** What stands before the extensions: all that a cookie is bound to. Views of the message. */
export type HelloStart = {
  readonly random: Uint8Array;
  readonly cookie: Uint8Array;
  /** From the version to the session id. */
  readonly before: Uint8Array;
  /** From the suites to the compression methods, both with their lengths. */
  readonly behind: Uint8Array;
};

export function decodeClientHello(body: Uint8Array): ClientHello {
  const start = scanHelloStart(body);
  if (typeof start === "string") throw new FormatError(start);
  const { random, cookie, before, behind } = start;
  const suites = new Reader(behind).u16();
  const reader = new Reader(behind, 2);
  const list = reader.sub(suites);
  const all: number[] = [];
  while (list.left > 0) all.push(list.u16());
  return {
    version: new Reader(before).u16(),
    random,
    sessionId: before.subarray(VERSION_AND_RANDOM + 1),
    cookie,
    suites: all,
    compression: reader.take(reader.u8()),
    extensions: readExtensions(new Reader(body, helloStartLength(start))),
  };
}

export function encodeClientHello(hello: ClientHello): Uint8Array {
  const writer = new Writer(128)
    .u16(hello.version)
    .append(hello.random)
    .prefixed(1, (w) => w.append(hello.sessionId))
    .prefixed(1, (w) => w.append(hello.cookie))
    .prefixed(2, (w) => hello.suites.forEach((suite) => w.u16(suite)))
    .prefixed(1, (w) => w.append(hello.compression));
  writeExtensions(writer, hello.extensions);
  return writer.bytes();
}

/**
 * Reads up to the compression methods: the first fragment of a hello may end in its extensions. A string says why it is no
 * hello: anybody can send one, and an error made for each would cost more than all the reading.
 */
export function scanHelloStart(body: Uint8Array): HelloStart | string {
  const end = body.length;
  let at = VERSION_AND_RANDOM;
  if (at >= end) return "hello cut short";
  const sessionId = body[at]!; // within
  if (sessionId > 32) return "session id longer than 32";
  at += 1 + sessionId;
  if (at >= end) return "hello cut short";
  const before = body.subarray(0, at);
  const cookie = body.subarray(at + 1, at + 1 + body[at]!); // within; whether all of it is there the next line says
  at += 1 + body[at]!;
  if (at + 2 > end) return "hello cut short";
  const suites = (body[at]! << 8) | body[at + 1]!; // the line above checked the end
  if (suites === 0 || suites % 2 !== 0) return "odd list of suites";
  const methods = at + 2 + suites;
  if (methods >= end || methods + 1 + body[methods]! > end) return "hello cut short"; // within
  const stop = methods + 1 + body[methods]!; // within
  if (!body.subarray(methods + 1, stop).includes(0)) return "null compression not offered";
  const random = body.subarray(2, VERSION_AND_RANDOM);
  return { random, cookie, before, behind: body.subarray(at, stop) };
}

function helloStartLength({ before, cookie, behind }: HelloStart): number {
  return before.length + 1 + cookie.length + behind.length;
}

export function atMost(limit: number, length: number, what: string): number {
  if (length > limit) throw new FormatError(`${what} longer than ${limit}`);
  return length;
}

const VERSION_AND_RANDOM = 2 + 32;
