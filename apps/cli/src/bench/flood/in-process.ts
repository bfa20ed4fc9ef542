import type { SocketAddress } from "@godwit/base";
import { source } from "../inner-port.ts";
import { spread } from "../statistics.ts";
import { answerCookie, hello } from "./datagrams.ts";
import type { Known, Reference, Sort } from "./sort.ts";
import { SORTS } from "./sorts.ts";
import { StackUnderFlood } from "./stack-under-flood.ts";

/** What one sort of hostile datagram costs the server's machines, without sockets. */
export type InProcessRow = {
  readonly sort: string;
  readonly against: Reference;
  /** Per datagram: median of many short measurements, so that what else the machine does strikes few of them. */
  readonly nanoseconds: number;
  /** Over the same of one exchange of `against`. */
  readonly ratio: number;
  readonly atMost: number;
  readonly met: boolean;
};

/** `batch` datagrams of each sort in each round, between them the exchanges they are held against. */
export function measureInProcess(
  sorts: readonly Sort[],
  batch: number,
  rounds: number,
): readonly InProcessRow[] {
  const under = new StackUnderFlood(DEVICES);
  const known = under.known();
  const trials = sorts.map((sort) => new Trial(sort, known, under.paths, batch));
  for (let round = 0; round < rounds + WARM_UPS; round++) {
    for (const trial of trials) trial.run(under, round);
    if (round + 1 === WARM_UPS) for (const trial of trials) trial.forget();
  }
  return trials.map((trial) => trial.row());
}

class Trial {
  readonly #sort: Sort;
  readonly #known: Known;
  readonly #paths: readonly SocketAddress[];
  readonly #batch: number;
  readonly #costs: number[] = [];
  readonly #references: number[] = [];
  #n = 0;

  constructor(sort: Sort, known: Known, paths: readonly SocketAddress[], batch: number) {
    this.#sort = sort;
    this.#known = known;
    this.#paths = paths;
    this.#batch = batch;
  }

  run(under: StackUnderFlood, round: number): void {
    this.#costs.push(...this.#flood(under));
    under.rest();
    this.#references.push(...referenceCosts(under, this.#sort.against, round));
    under.rest();
  }

  forget(): void {
    this.#costs.length = 0;
    this.#references.length = 0;
  }

  row(): InProcessRow {
    const { name, against, atMost } = this.#sort;
    const nanoseconds = spread(this.#costs).median;
    const ratio = nanoseconds / spread(this.#references).median;
    return { sort: name, against, nanoseconds, ratio, atMost, met: ratio <= atMost };
  }

  /** ns per datagram, again and again. */
  #flood(under: StackUnderFlood): readonly number[] {
    const { port, datagram, reply } = this.#sort;
    this.#prepare(under);
    let all: (readonly [SocketAddress, Uint8Array])[] = [];
    for (let i = 0; i < this.#batch; i++)
      all.push([this.#from(), datagram(this.#known, this.#n++)]);
    if (reply !== undefined) all = all.flatMap(([from, sent]) => this.#replied(under, from, sent));
    return under.arriveAll(port, all);
  }

  /** The second datagram of a sender that has to hear something first. */
  #replied(
    under: StackUnderFlood,
    from: SocketAddress,
    sent: Uint8Array,
  ): (readonly [SocketAddress, Uint8Array])[] {
    const { port, reply } = this.#sort;
    under.arrive(port, from, sent);
    const second = under.answered && reply?.(sent, under.answered);
    return second === undefined ? [] : [[from, second]];
  }

  #from(): SocketAddress {
    const n = this.#n;
    switch (this.#sort.from) {
      case "known":
        return this.#paths[n % this.#paths.length]!; // within
      case "host":
        return { host: "203.0.113.9", port: 1_024 + (n % 60_000) };
      case "halfOpen":
        return source(4_000_000 + (n % HALF_OPEN));
      case "many":
        return source(5_000_000 + n);
    }
  }

  /** Begins the handshakes that this sort is said in. */
  #prepare(under: StackUnderFlood): void {
    if (this.#sort.from !== "halfOpen") return;
    for (let n = 0; n < HALF_OPEN; n++) {
      const address = source(4_000_000 + n);
      const first = hello({ n });
      under.arrive("coaps", address, first);
      const second = under.answered && answerCookie(first, under.answered);
      if (second !== undefined) under.arrive("coaps", address, second);
    }
  }
}

/** ns of the server for one exchange, again and again. */
function referenceCosts(
  under: StackUnderFlood,
  reference: Reference,
  round: number,
): readonly number[] {
  const exchange = EXCHANGES[reference];
  if (exchange !== undefined) {
    return Array.from({ length: exchange.count }, (_, i) => {
      under.spent = 0;
      exchange.run(under, round * exchange.count + i);
      return under.spent * 1e6;
    });
  }
  const sort = SORTS.find(({ name }) => name === reference);
  if (sort === undefined) throw new Error(`nothing to hold against: ${reference}`);
  const all = Array.from({ length: BATCH }, (_, i) => {
    const n = round * BATCH + i;
    return [source(9_000_000 + n), sort.datagram(NOTHING, n)] as const;
  });
  return under.arriveAll(sort.port, all);
}

const EXCHANGES: Readonly<Partial<Record<Reference, Exchange>>> = {
  "ping over CID": { count: 200, run: (under, n) => under.pingOverCid(n) },
  "resumed handshake": { count: 50, run: (under, n) => under.resume(n) },
  "OSCORE GET": { count: 200, run: (under) => under.getOverOscore() },
  "B.2 key agreement": { count: 50, run: (under, n) => under.agreeByB2(n) },
};

type Exchange = {
  /** In one measurement. */
  readonly count: number;
  readonly run: (under: StackUnderFlood, n: number) => void;
};

const NOTHING: Known = {
  cids: [],
  kid: new Uint8Array(0),
  negotiatedKid: new Uint8Array(0),
  recordedB2: new Uint8Array(0),
};
const DEVICES = 100;
const WARM_UPS = 2;
/** Handshakes that wait for their clients. */
const HALF_OPEN = 20;
/** Datagrams of one measurement of what others are held against. */
const BATCH = 500;
