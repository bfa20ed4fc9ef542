import { sha256 } from "@godwit/base";
import type { Fragment } from "./handshake/header.ts";

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
