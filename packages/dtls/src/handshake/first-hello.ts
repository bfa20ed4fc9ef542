import { ContentType, HandshakeType } from "../codes.ts";
import { type DtlsRecord, HEADER } from "../record/header.ts";
import { type HelloStart, scanHelloStart } from "./client-hello.ts";
import { type Fragment, scanFragment } from "./header.ts";

/** The ClientHello that a record begins with, as far as a cookie needs it. Undefined for any other message. */
export function firstHello({
  fragment: content,
}: DtlsRecord): { readonly fragment: Fragment; readonly start: HelloStart } | "bad" | undefined {
  const fragment = scanFragment(content, 0);
  if (typeof fragment === "string") return "bad";
  if (fragment.type !== HandshakeType.clientHello || fragment.offset > 0) return undefined;
  const start = scanHelloStart(fragment.body);
  return typeof start === "string" ? "bad" : { fragment, start };
}

/** Whether the plain record at `at`, `size` bytes long, may begin a ClientHello. */
export function beginsHello(bytes: Uint8Array, at: number, size: number): boolean {
  return (
    bytes[at] === ContentType.handshake &&
    size > HEADER &&
    bytes[at + HEADER] === HandshakeType.clientHello
  );
}
