import { FormatError, Reader, sha256 } from "@godwit/base";
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

/**
 * What a ClientHello is known again by: 64 bits of a hash over all of it, for two hellos of one device may differ in nothing
 * but some bytes of their random (RFC 6347 4.2.8).
 */
export class HelloMark {
  /** 32 bits each: small numbers, of which an association keeps two. */
  readonly high: number;
  readonly low: number;

  /** Of a hello in fragments the first one counts, which has its random. */
  constructor({ body }: Fragment) {
    const hash = sha256(body);
    const view = new DataView(hash.buffer, hash.byteOffset);
    this.high = view.getInt32(0);
    this.low = view.getInt32(4);
  }

  equals(high: number | undefined, low: number): boolean {
    return this.high === high && this.low === low;
  }
}
