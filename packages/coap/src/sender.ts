import { fits, misfit, type Outbox, type Purpose } from "@godwit/base";
import type { EndpointOutput } from "./endpoint-events.ts";
import type { EndpointSession } from "./endpoint-session.ts";
import { ACK, RST, type MessageType } from "./message.ts";
import type { CoapTuning } from "./tuning.ts";

/**
 * The one door out: every byte is counted under its purpose, and towards an unproven path none leaves beyond the
 * allowance, whatever it is for.
 */
export class Sender {
  readonly #outbox: Outbox<EndpointOutput>;
  readonly #factor: number;

  constructor(outbox: Outbox<EndpointOutput>, tuning: CoapTuning) {
    this.#outbox = outbox;
    this.#factor = tuning.amplificationFactor;
  }

  /** How many bytes this session may be sent now. */
  allowance(session: EndpointSession): number {
    return session.path.allowance(this.#factor);
  }

  /**
   * Sends unless the path's proof forbids it; says whether it did. `purpose` "payload" splits the bytes into header and
   * payload. They are booked on `account`, `overhead` of them as its protection's.
   */
  send(
    session: EndpointSession,
    bytes: Uint8Array,
    payloadLength: number,
    purpose: "payload" | "retransmission" | "keepAlive",
    account: EndpointSession = session,
    overhead = 0,
  ): boolean {
    const { path } = session;
    if (!path.proven) {
      if (bytes.length > path.allowance(this.#factor)) {
        this.drop(session, "amplification");
        return false;
      }
      path.sent(bytes.length);
    }
    count(account, "out", bytes.length, payloadLength, purpose, overhead);
    this.#outbox.push({ type: "send", session: session.id, bytes });
    return true;
  }

  /** The peer has answered what was sent to this path: it is there. */
  proven({ path, id }: EndpointSession): void {
    if (path.proven) return;
    path.proven = true;
    this.#outbox.push({ type: "proven", session: id });
  }

  /** An empty ACK. */
  acknowledge(session: EndpointSession, mid: number, again = false): void {
    this.send(session, emptyMessage(ACK, mid), 0, again ? "retransmission" : "payload");
  }

  /** RST: we have no use for the message. */
  reset(
    session: EndpointSession,
    mid: number,
    purpose: "payload" | "retransmission" | "keepAlive" = "payload",
  ): void {
    this.send(session, emptyMessage(RST, mid), 0, purpose);
  }

  /** Throws something away, countably. */
  drop(session: EndpointSession, reason: string): void {
    session.ledger.drop(reason);
    this.#outbox.push({ type: "dropped", session: session.id, reason });
  }
}

/** Books a message in the session's ledger. */
export function count(
  session: EndpointSession,
  direction: "in" | "out",
  length: number,
  payloadLength: number,
  purpose: Purpose,
  overhead = 0,
): void {
  const { ledger } = session;
  if (session.isProtected) ledger.datagram(direction);
  if (purpose !== "payload") {
    ledger.add(direction, purpose, length);
    return;
  }
  if (overhead > 0) ledger.add(direction, "record", overhead);
  ledger.add(direction, "header", length - payloadLength - overhead);
  if (payloadLength > 0) ledger.add(direction, "payload", payloadLength);
}

/** A ping, an ACK that says no more, or an RST (RFC 7252 4.1). */
export function emptyMessage(type: MessageType, mid: number): Uint8Array {
  if (!fits(mid, 2 ** 16)) misfit("u16", mid);
  const bytes = new Uint8Array(EMPTY_LENGTH);
  bytes[0] = 0x40 | (type << 4);
  bytes[2] = mid >>> 8;
  bytes[3] = mid;
  return bytes;
}

export const EMPTY_LENGTH = 4;
