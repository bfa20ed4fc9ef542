/** What a byte on the wire was spent for. `header`: CoAP header, token, options. `record`: DTLS or OSCORE around it. */
export type Purpose =
  | "handshake"
  | "record"
  | "header"
  | "payload"
  | "retransmission"
  | "keepAlive";

export type Direction = "in" | "out";

/**
 * Every byte of one session, by direction and purpose, with what happened to it. The dashboard, the lab and the
 * benchmarks read this and nothing else. UDP payload bytes; datagrams are counted so that IP headers can be added.
 */
export class Ledger {
  /** Bytes in: handshake, record, header, payload, retransmission, keepAlive; then the same out. */
  readonly #bytes: number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  datagramsIn = 0;
  datagramsOut = 0;
  /** Handshakes completed, by kind. */
  fullHandshakes = 0;
  resumedHandshakes = 0;
  /** How often the session followed its peer to another address. */
  addressChanges = 0;
  #drops: Map<string, number> | undefined;

  /** Adds bytes without a datagram of their own: several purposes share one datagram. */
  add(direction: Direction, purpose: Purpose, bytes: number): void {
    this.#bytes[(direction === "in" ? 0 : 6) + PLACE[purpose]]! += bytes; // twelve places, all within
  }

  datagram(direction: Direction): void {
    if (direction === "in") this.datagramsIn += 1;
    else this.datagramsOut += 1;
  }

  /** Counts what was thrown away, and why. Reasons are our own words, never the peer's. */
  drop(reason: string): void {
    this.#drops ??= new Map();
    this.#drops.set(reason, (this.#drops.get(reason) ?? 0) + 1);
  }

  bytes(direction: Direction, purpose: Purpose): number {
    return this.#bytes[(direction === "in" ? 0 : 6) + PLACE[purpose]]!; // twelve places, all within
  }

  total(direction: Direction): number {
    const from = direction === "in" ? 0 : 6;
    return this.#bytes.slice(from, from + 6).reduce((sum, n) => sum + n, 0);
  }

  /** Adds another ledger's figures to this one: a session that turned out to be this one. */
  absorb(other: Ledger): void {
    other.#bytes.forEach((n, place) => (this.#bytes[place]! += n)); // both have twelve places
    this.datagramsIn += other.datagramsIn;
    this.datagramsOut += other.datagramsOut;
    this.fullHandshakes += other.fullHandshakes;
    this.resumedHandshakes += other.resumedHandshakes;
    this.addressChanges += other.addressChanges;
    for (const [reason, n] of other.#drops ?? []) {
      this.#drops ??= new Map();
      this.#drops.set(reason, (this.#drops.get(reason) ?? 0) + n);
    }
  }

  /** A plain copy for JSON. */
  snapshot(): LedgerSnapshot {
    const side = (direction: Direction): Record<Purpose, number> => ({
      handshake: this.bytes(direction, "handshake"),
      record: this.bytes(direction, "record"),
      header: this.bytes(direction, "header"),
      payload: this.bytes(direction, "payload"),
      retransmission: this.bytes(direction, "retransmission"),
      keepAlive: this.bytes(direction, "keepAlive"),
    });
    return {
      in: { datagrams: this.datagramsIn, total: this.total("in"), bytes: side("in") },
      out: { datagrams: this.datagramsOut, total: this.total("out"), bytes: side("out") },
      handshakes: { full: this.fullHandshakes, resumed: this.resumedHandshakes },
      addressChanges: this.addressChanges,
      drops: Object.fromEntries(this.#drops ?? []),
    };
  }
}

export type LedgerSnapshot = {
  readonly in: LedgerSide;
  readonly out: LedgerSide;
  readonly handshakes: { readonly full: number; readonly resumed: number };
  readonly addressChanges: number;
  readonly drops: Readonly<Record<string, number>>;
};

export type LedgerSide = {
  readonly datagrams: number;
  readonly total: number;
  readonly bytes: Readonly<Record<Purpose, number>>;
};

const PLACE: Readonly<Record<Purpose, number>> = {
  handshake: 0,
  record: 1,
  header: 2,
  payload: 3,
  retransmission: 4,
  keepAlive: 5,
};
