import { hashText } from "@godwit/base";
import type { Instant, Path, SocketAddress } from "@godwit/base";

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

/** Equal for equal paths. Our own end is nearly always the same: it adds its port only. */
export function hashPath({ local, remote }: Path): number {
  return hashText(remote.host, remote.port * 64 + local.port);
}

/**
 * Keys for maps by path: both ends, for one socket may serve several local addresses. Those are few, so a number stands
 * for each, and the key of a path is little longer than the peer's address.
 */
export class PathKeys {
  readonly #locals: SocketAddress[] = [];

  of({ local, remote }: Path): string {
    let index = this.#locals.findIndex((a) => a.port === local.port && a.host === local.host);
    if (index < 0) index = this.#locals.push(local) - 1;
    return index === 0 ? `${remote.port} ${remote.host}` : `${remote.port} ${remote.host} ${index}`;
  }
}
