import { Reader, Writer } from "@godwit/base";
import { atMost } from "./client-hello.ts";
import { type Extensions, readExtensions, writeExtensions } from "./extensions.ts";

/**
 *   version(2) random(32) session_id<0..32> cipher_suite(2) compression(1) [extensions]        RFC 5246 7.4.1.3
 */
export type ServerHello = {
  readonly version: number;
  readonly random: Uint8Array;
  readonly sessionId: Uint8Array;
  readonly suite: number;
  readonly compression: number;
  readonly extensions: Extensions;
};

export function decodeServerHello(body: Uint8Array): ServerHello {
  const reader = new Reader(body);
  return {
    version: reader.u16(),
    random: reader.take(32),
    sessionId: reader.take(atMost(32, reader.u8(), "session id")),
    suite: reader.u16(),
    compression: reader.u8(),
    extensions: readExtensions(reader),
  };
}

export function encodeServerHello(hello: ServerHello): Uint8Array {
  const writer = new Writer(96)
    .u16(hello.version)
    .append(hello.random)
    .prefixed(1, (w) => w.append(hello.sessionId))
    .u16(hello.suite)
    .u8(hello.compression);
  writeExtensions(writer, hello.extensions);
  return writer.bytes();
}
