import { unreachable } from "./machine.ts";

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
 *
 * There is one for every idle session: what each of them counts are fields, what few of them count is apart.
 */
export class Ledger {
  datagramsIn = 0;
  datagramsOut = 0;
  #headerIn = 0;
  #headerOut = 0;
  #payloadIn = 0;
  #payloadOut = 0;
  #recordIn = 0;
  #recordOut = 0;
  #secured: Secured | undefined;
  #rare: Rare | undefined;

  /** Handshakes completed, by kind. */
  get fullHandshakes(): number {
    return this.#secured?.fullHandshakes ?? 0;
  }
  set fullHandshakes(n: number) {
    this.#protected.fullHandshakes = n;
  }
  get resumedHandshakes(): number {
    return this.#rare?.resumedHandshakes ?? 0;
  }
  set resumedHandshakes(n: number) {
    this.#more.resumedHandshakes = n;
  }

  /** How often the session followed its peer to another address. */
  get addressChanges(): number {
    return this.#rare?.addressChanges ?? 0;
  }
  set addressChanges(n: number) {
    this.#more.addressChanges = n;
  }

  /** Adds bytes without a datagram of their own: several purposes share one datagram. */
  add(direction: Direction, purpose: Purpose, bytes: number): void {
    const inwards = direction === "in";
    switch (purpose) {
      case "header":
        if (inwards) this.#headerIn += bytes;
        else this.#headerOut += bytes;
        break;
      case "payload":
        if (inwards) this.#payloadIn += bytes;
        else this.#payloadOut += bytes;
        break;
      case "record":
        if (inwards) this.#recordIn += bytes;
        else this.#recordOut += bytes;
        break;
      case "handshake":
        if (inwards) this.#protected.handshakeIn += bytes;
        else this.#protected.handshakeOut += bytes;
        break;
      case "retransmission":
        if (inwards) this.#more.retransmissionIn += bytes;
        else this.#more.retransmissionOut += bytes;
        break;
      case "keepAlive":
        if (inwards) this.#more.keepAliveIn += bytes;
        else this.#more.keepAliveOut += bytes;
        break;
      default:
        unreachable(purpose);
    }
  }

  datagram(direction: Direction): void {
    if (direction === "in") this.datagramsIn += 1;
    else this.datagramsOut += 1;
  }

  /** Counts what was thrown away, and why. Reasons are our own words, never the peer's. */
  drop(reason: string, times = 1): void {
    const drops = (this.#more.drops ??= new Map<string, Times>());
    const counted = drops.get(reason); // one search: a flood comes here with every datagram
    if (counted === undefined) drops.set(reason, { times });
    else counted.times += times;
  }

  bytes(direction: Direction, purpose: Purpose): number {
    const inwards = direction === "in";
    const rare = this.#rare;
    const secured = this.#secured;
    switch (purpose) {
      case "header":
        return inwards ? this.#headerIn : this.#headerOut;
      case "payload":
        return inwards ? this.#payloadIn : this.#payloadOut;
      case "record":
        return inwards ? this.#recordIn : this.#recordOut;
      case "handshake":
        return (inwards ? secured?.handshakeIn : secured?.handshakeOut) ?? 0;
      case "retransmission":
        return (inwards ? rare?.retransmissionIn : rare?.retransmissionOut) ?? 0;
      case "keepAlive":
        return (inwards ? rare?.keepAliveIn : rare?.keepAliveOut) ?? 0;
      default:
        return unreachable(purpose);
    }
  }

  total(direction: Direction): number {
    return PURPOSES.reduce((sum, purpose) => sum + this.bytes(direction, purpose), 0);
  }

  /** Adds another ledger's figures to this one: a session that turned out to be this one. */
  absorb(other: Ledger): void {
    this.datagramsIn += other.datagramsIn;
    this.datagramsOut += other.datagramsOut;
    this.absorbInner(other);
  }

  /** Adds a ledger of what went inside this one's datagrams: everything but the datagrams, which are counted here. */
  absorbInner(other: Ledger): void {
    this.#headerIn += other.#headerIn;
    this.#headerOut += other.#headerOut;
    this.#payloadIn += other.#payloadIn;
    this.#payloadOut += other.#payloadOut;
    this.#recordIn += other.#recordIn;
    this.#recordOut += other.#recordOut;
    const secured = other.#secured;
    if (secured !== undefined) {
      const own = this.#protected;
      own.handshakeIn += secured.handshakeIn;
      own.handshakeOut += secured.handshakeOut;
      own.fullHandshakes += secured.fullHandshakes;
    }
    const rare = other.#rare;
    if (rare === undefined) return;
    const more = this.#more;
    more.retransmissionIn += rare.retransmissionIn;
    more.keepAliveIn += rare.keepAliveIn;
    more.retransmissionOut += rare.retransmissionOut;
    more.keepAliveOut += rare.keepAliveOut;
    more.resumedHandshakes += rare.resumedHandshakes;
    more.addressChanges += rare.addressChanges;
    for (const [reason, { times }] of rare.drops ?? []) this.drop(reason, times);
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
      drops: Object.fromEntries(
        [...(this.#rare?.drops ?? [])].map(([reason, { times }]) => [reason, times]),
      ),
    };
  }

  get #protected(): Secured {
    return (this.#secured ??= {
      handshakeIn: 0,
      handshakeOut: 0,
      fullHandshakes: 0,
    });
  }

  get #more(): Rare {
    return (this.#rare ??= {
      retransmissionIn: 0,
      keepAliveIn: 0,
      retransmissionOut: 0,
      keepAliveOut: 0,
      resumedHandshakes: 0,
      addressChanges: 0,
      drops: undefined,
    });
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

/** What every session with a handshake counts. */
type Secured = {
  handshakeIn: number;
  handshakeOut: number;
  fullHandshakes: number;
};

type Rare = {
  retransmissionIn: number;
  keepAliveIn: number;
  retransmissionOut: number;
  keepAliveOut: number;
  resumedHandshakes: number;
  addressChanges: number;
  drops: Map<string, Times> | undefined;
};

type Times = { times: number };

const PURPOSES = [
  "handshake",
  "record",
  "header",
  "payload",
  "retransmission",
  "keepAlive",
] as const satisfies readonly Purpose[];
