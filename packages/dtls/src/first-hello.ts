import { FormatError, Reader } from "@godwit/base";
import { HandshakeType } from "./codes.ts";
import { type HelloStart, readHelloStart } from "./handshake/client-hello.ts";
import { type Fragment, readFragments } from "./handshake/header.ts";
import type { DtlsRecord } from "./record/header.ts";

/** The ClientHello that a record begins with, as far as a cookie needs it. Undefined for any other message. */
export function firstHello(
  record: DtlsRecord,
): { readonly fragment: Fragment; readonly start: HelloStart } | "bad" | undefined {
  try {
    const [fragment] = readFragments(record.fragment);
    if (fragment?.type !== HandshakeType.clientHello || fragment.offset > 0) return undefined;
    return { fragment, start: readHelloStart(new Reader(fragment.body)) };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return "bad";
  }
}
