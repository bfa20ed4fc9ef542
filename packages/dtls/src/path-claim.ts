import type { Instant, Path } from "@godwit/base";

/**
 * A peer's claim to be at a new address, and how it is being checked.
 *
 *   open     nobody asks; the layer above may (CoAP Echo), or an answer to it proves the address
 *   askOld   enhanced check: does the old address still answer? Then it was a race, not a move    RFC 9853 5.2
 *   askNew   basic check: does the new address answer?                                          RFC 9853 5.1
 */
export type PathClaim = {
  /** Where the peer was last proven to be. */
  readonly proven: Path | undefined;
  stage: "open" | "askOld" | "askNew";
  /** Bytes from the new address in records that verified, and bytes sent to it. */
  received: number;
  sent: number;
  /** The challenges that are out: any of them may be answered. */
  cookies: Uint8Array[];
  deadline: Instant | undefined;
};

export function samePath(a: Path | undefined, b: Path): boolean {
  return (
    a !== undefined &&
    a.remote.port === b.remote.port &&
    a.remote.host === b.remote.host &&
    a.local.port === b.local.port &&
    a.local.host === b.local.host
  );
}

/** A key for maps: both ends, for one socket may serve several local addresses. */
export function pathKey(path: Path): string {
  return `${path.remote.host}|${path.remote.port}|${path.local.host}|${path.local.port}`;
}
