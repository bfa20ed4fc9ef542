import { Reader, Writer } from "@godwit/base";
import { DTLS_1_0 } from "../codes.ts";

/** The cookie that the client is to show. Its version field means nothing and is not looked at (RFC 6347 4.2.1). */
export function decodeHelloVerifyRequest(body: Uint8Array): Uint8Array {
  const reader = new Reader(body);
  reader.u16();
  const cookie = reader.take(reader.u8());
  reader.end("cookie");
  return cookie;
}

/** RFC 6347 4.2.1: a server SHOULD name DTLS 1.0 here, whatever will be agreed on. */
export function encodeHelloVerifyRequest(cookie: Uint8Array): Uint8Array {
  return new Writer(40)
    .u16(DTLS_1_0)
    .prefixed(1, (w) => w.append(cookie))
    .bytes();
}
