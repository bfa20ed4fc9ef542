import { FormatError, Reader, Writer } from "@godwit/base";
import { type Extensions, readExtensions, writeExtensions } from "./extensions.ts";

/**
 *   version(2) random(32) session_id<0..32> cookie<0..255> cipher_suites<2..> compression<1..> [extensions]
 *                                                                                         RFC 6347 4.2.1
 */
export type ClientHello = HelloStart & { readonly extensions: Extensions };

/** What stands before the extensions: all that a cookie is bound to. */
export type HelloStart = {
  readonly version: number;
  readonly random: Uint8Array;
  readonly sessionId: Uint8Array;
  readonly cookie: Uint8Array;
  readonly suites: readonly number[];
  readonly compression: Uint8Array;
};

export function decodeClientHello(body: Uint8Array): ClientHello {
  const reader = new Reader(body);
  const start = readHelloStart(reader);
  return { ...start, extensions: readExtensions(reader) };
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

/** Reads up to the compression methods: the first fragment of a hello may end in its extensions. */
export function readHelloStart(reader: Reader): HelloStart {
  const version = reader.u16();
  const random = reader.take(32);
  const sessionId = reader.take(atMost(32, reader.u8(), "session id"));
  const cookie = reader.take(reader.u8());
  const suites = reader.sub(reader.u16());
  if (suites.left === 0 || suites.left % 2 !== 0) throw new FormatError("odd list of suites");
  const list: number[] = [];
  while (suites.left > 0) list.push(suites.u16());
  const compression = reader.take(reader.u8());
  if (!compression.includes(0)) throw new FormatError("null compression not offered");
  return { version, random, sessionId, cookie, suites: list, compression };
}

export function atMost(limit: number, length: number, what: string): number {
  if (length > limit) throw new FormatError(`${what} longer than ${limit}`);
  return length;
}
