import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BenchOptions } from "../command.ts";
import { atLeast, load, machine, type Figure, type Report, type Target } from "../report.ts";
import { spread } from "../statistics.ts";
import { FIXED, NEGOTIATED, type FloodAnswer, type Flooded, type Updates } from "./asks.ts";
import { measureInProcess, type InProcessRow } from "./in-process.ts";
import { FloodProcess, serveFlooded, type Served } from "./processes.ts";
import { recordedB2 } from "./recorded-b2.ts";
import { inputOf } from "../context-peers.ts";
import type { FloodRow } from "./rows.ts";
import type { Reference, Sort } from "./sort.ts";
import { SORTS } from "./sorts.ts";

//   godwit serve, a process with devices that send Updates all the time, a process with strangers
//   what a valid exchange of each kind costs the server
//   each sort in turn: as many datagrams as are wanted, and what becomes of the Updates meanwhile
//   a newcomer while handshakes of one host wait for their client
//   then the same sorts at the server's machines alone, in this process, for what each costs there

/** `godwit bench flood`: what hostile datagrams of each sort cost the server, and whether devices and newcomers are served. */
export async function benchFlood(options: BenchOptions): Promise<Report> {
  if (process.platform !== "linux") throw new Error("bench reads /proc, so it runs on Linux only");
  const size = options.short ? SHORT : FULL;
  const seconds = options.short ? SHORT.seconds : Math.max(1, options.seconds * 2);
  const before = load();
  const directory = await mkdtemp(join(tmpdir(), "godwit-bench-"));
  const sorts = chosen(options.only);
  const bench = new Bench({ ...size, seconds }, options.progress);
  try {
    await bench.start(directory);
    const rows = await bench.floods(sorts);
    const newcomer = await bench.newcomer();
    const figures = bench.figures(newcomer);
    await bench.stop();
    options.progress("the machines alone");
    const inProcess = measureInProcess(sorts, size.batch, options.short ? 1 : options.rounds);
    return {
      benchmark: "flood",
      machine: machine(),
      load: { before, after: load() },
      settings: { ...size, seconds, short: options.short },
      throughput: [],
      figures,
      targets: targetsOf(rows, newcomer, inProcess),
      notes: [],
      floods: rows,
      inProcess,
    };
  } finally {
    await bench.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

type Size = typeof FULL & { readonly seconds: number };

/** What one exchange or datagram costs the server, µs of processor time. */
type Costs = Map<Reference, number>;

class Bench {
  readonly #size: Size;
  readonly #progress: (text: string) => void;
  readonly #devices = new FloodProcess();
  readonly #strangers = new FloodProcess();
  readonly #costs: Costs = new Map();
  #server: Served | undefined;
  /** µs of the server for one Update of the devices at work, measured without strangers. */
  #updateCost = 0;
  #quiet: Updates | undefined;
  #here = 0;

  constructor(size: Size, progress: (text: string) => void) {
    this.#size = size;
    this.#progress = progress;
  }

  async start(directory: string): Promise<void> {
    const { devices, newcomers, sources, hostPorts, seconds } = this.#size;
    this.#progress("starting godwit serve");
    this.#server = await serveFlooded(directory, devices + newcomers);
    const { ports } = this.#server;
    this.#progress(`${devices} devices come`);
    const come = await this.#devices.ask({ type: "come", ports, devices });
    this.#here = come.devices;
    this.#progress("strangers gather");
    const known = {
      cids: come.cids,
      kid: inputOf(FIXED).senderId,
      negotiatedKid: inputOf(NEGOTIATED).senderId,
      recordedB2: recordedB2(inputOf(NEGOTIATED)),
    };
    await this.#strangers.ask({ type: "gather", ports, known, sources, hostPorts });
    await this.#measureQuiet(); // the server's code is compiled by it
    for (const what of ["ping over CID", "resumed handshake", "OSCORE GET"] as const) {
      this.#progress(`the cost of: ${what}`);
      const ask = { type: "exchange", what, seconds } as const;
      await this.#devices.ask({ ...ask, seconds: Math.min(1, seconds) });
      const spent = await this.#spending(() => this.#devices.ask(ask));
      this.#costs.set(what, (spent.cpu * 1e6) / Math.max(1, spent.answer.completed));
    }
  }

  /** What the Updates cost without strangers; again and again, for the disk has its moods. */
  async #measureQuiet(): Promise<void> {
    this.#progress("Updates without strangers");
    const { updates, seconds } = this.#size;
    const update = { type: "update", seconds, perSecond: updates } as const;
    const { answer, cpu } = await this.#spending(() => this.#devices.ask(update));
    this.#quiet = answer;
    this.#updateCost = (cpu * 1e6) / Math.max(1, answer.answered);
  }

  /** Each sort once; those that the others are held against at the beginning, in the middle and at the end. */
  async floods(sorts: readonly Sort[]): Promise<readonly FloodRow[]> {
    const references = sorts.filter(isReference);
    const others = sorts.filter((sort) => !isReference(sort));
    const half = others.length >> 1;
    const ordered = [
      ...[...references, ...others.slice(0, half)],
      ...[...references, ...others.slice(half)],
      ...references,
    ];
    const rows: FloodRow[] = [];
    for (const [i, sort] of ordered.entries()) {
      if (i % QUIET_EVERY === 0) await this.#measureQuiet();
      this.#progress(`${i + 1} of ${ordered.length}: ${sort.name}`);
      await this.#warmUp(sort);
      rows.push(await this.#flood(sort));
    }
    for (const { name, against } of references) {
      const costs = rows.filter(({ sort }) => sort === name).map((row) => row.microseconds);
      this.#costs.set(against, spread(costs).median);
    }
    return sorts.flatMap(({ name, against }) => {
      const row = rows.findLast(({ sort }) => sort === name);
      const held = this.#costs.get(against);
      if (row === undefined || held === undefined) return row ?? [];
      return { ...row, ratio: row.microseconds / held };
    });
  }

  /** The server's code for this sort is compiled by it. */
  async #warmUp({ name }: Sort): Promise<void> {
    const { seconds, perSecond } = this.#size;
    const ask = { type: "flood", sort: name, seconds: seconds * WARM_UP, perSecond } as const;
    await this.#strangers.ask(ask);
  }

  async #flood(sort: Sort): Promise<FloodRow> {
    const { seconds, perSecond, updates } = this.#size;
    const server = this.#server!; // it was started
    const lost = server.lost();
    const lines = server.lines();
    const { answer, cpu } = await this.#spending(() =>
      Promise.all([
        this.#strangers.ask({ type: "flood", sort: sort.name, seconds, perSecond }),
        this.#devices.ask({ type: "update", seconds, perSecond: updates }),
      ]),
    );
    const [flooded, updated] = answer;
    return this.#rowOf(sort, flooded, updated, {
      cpu,
      lost: server.lost() - lost,
      lines: server.lines() - lines,
    });
  }

  #rowOf(
    sort: Sort,
    { sent, elapsed, cpu }: Flooded,
    { due, atOnce, answered }: Updates,
    server: { readonly cpu: number; readonly lost: number; readonly lines: number },
  ): FloodRow {
    const { name, against, atMost } = sort;
    const own = server.cpu * 1e6 - answered * this.#updateCost;
    const cost = Math.max(0, own) / Math.max(1, sent - server.lost);
    return {
      sort: name,
      perSecond: sent / elapsed,
      generatorCpu: cpu / elapsed,
      lost: server.lost / Math.max(1, sent),
      microseconds: cost,
      against,
      ratio: undefined,
      atMost,
      updatesAtOnce: atOnce / due,
      updatesAnswered: answered / due,
      logLines: server.lines,
    };
  }

  /** ms until a new device was registered, while handshakes that one host began wait for their client. */
  async newcomer(): Promise<FloodAnswer["newcomer"]> {
    this.#progress("a newcomer in a flood of half-open handshakes");
    const { perSecond, devices, newcomerSeconds } = this.#size;
    const flood = this.#strangers.ask({
      type: "flood",
      sort: HALF_OPEN,
      seconds: newcomerSeconds + 1,
      perSecond,
    });
    await new Promise((resolve) => setTimeout(resolve, Math.min(1_000, newcomerSeconds * 500)));
    const newcomer = await this.#devices.ask({
      type: "newcomer",
      n: devices,
      seconds: newcomerSeconds,
    });
    await flood;
    return newcomer;
  }

  figures({ ms }: FloodAnswer["newcomer"]): Figure[] {
    const quiet = this.#quiet!; // measured at the start
    return [
      { name: "devices at work", value: this.#here, unit: "" },
      { name: "Updates per second", value: this.#size.updates, unit: "" },
      { name: "an Update without strangers", value: this.#updateCost, unit: "µs" },
      { name: "of them answered at once", value: quiet.atOnce / quiet.due, unit: "" },
      ...[...this.#costs].map(([name, value]) => ({ name, value, unit: "µs" })),
      ...(ms === undefined ? [] : [{ name: "a newcomer registered after", value: ms, unit: "ms" }]),
    ];
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await Promise.all([this.#devices.stop(), this.#strangers.stop(), server?.stop()]);
  }

  /** s of processor time of the server while something goes on. */
  async #spending<T>(run: () => Promise<T>): Promise<{ readonly answer: T; readonly cpu: number }> {
    const { usage } = this.#server!; // it was started
    const before = usage().cpu;
    const answer = await run();
    return { answer, cpu: usage().cpu - before };
  }
}

/** The sorts with `text` in their names, and what they are held against. */
function chosen(text = ""): readonly Sort[] {
  const named = SORTS.filter(({ name }) => name.includes(text));
  if (named.length === 0) {
    const all = SORTS.map(({ name }) => name).join("; ");
    throw new Error(`--only: no sort of datagrams has "${text}" in its name; there are: ${all}`);
  }
  const against = new Set(named.map((sort) => sort.against));
  return SORTS.filter(
    (sort) => named.includes(sort) || (isReference(sort) && against.has(sort.against)),
  );
}

function isReference({ name, against }: Sort): boolean {
  return name === against;
}

function targetsOf(
  rows: readonly FloodRow[],
  { ms }: FloodAnswer["newcomer"],
  inProcess: readonly InProcessRow[],
): Target[] {
  const least = rows.reduce((a, b) => (b.updatesAnswered < a.updatesAnswered ? b : a));
  const over = rows.filter(({ ratio, atMost }) => ratio !== undefined && ratio > atMost);
  const overAlone = inProcess.filter(({ met }) => !met);
  return [
    atLeast(
      `Updates that went on, at the worst (${least.sort})`,
      UPDATES_LEFT,
      least.updatesAnswered,
    ),
    none(
      "sorts that cost more than they may",
      over.map(({ sort }) => sort),
    ),
    none(
      "the same, at the machines alone",
      overAlone.map(({ sort }) => sort),
    ),
    {
      name: "a newcomer registers while handshakes of one host wait, ms",
      wanted: `at most ${NEWCOMER}`,
      reached: ms ?? Infinity,
      met: ms !== undefined && ms <= NEWCOMER,
    },
  ];
}

function none(name: string, found: readonly string[]): Target {
  const which = found.length === 0 ? "" : `: ${found.join("; ")}`;
  return { name: name + which, wanted: "none", reached: found.length, met: found.length === 0 };
}

/** Of the time that is measured. */
const WARM_UP = 0.5;
/** Sorts between two measurements without strangers. */
const QUIET_EVERY = 10;
const HALF_OPEN = "hello with cookie, then silence";
/** Of the Updates that were due. */
const UPDATES_LEFT = 0.95;
/** ms */
const NEWCOMER = 10_000;
const FULL = {
  devices: 1_000,
  newcomers: 1,
  /** Updates of all devices together. Few, for what they cost is taken off what the flood costs. */
  updates: 200,
  /** Hostile datagrams. */
  perSecond: 20_000,
  sources: 1_000,
  hostPorts: 6_000,
  newcomerSeconds: 20,
  /** Datagrams of each sort in each round at the machines alone. */
  batch: 2_000,
};
const SHORT = {
  devices: 20,
  newcomers: 1,
  updates: 50,
  perSecond: 1_000,
  sources: 20,
  hostPorts: 40,
  newcomerSeconds: 1,
  batch: 50,
  seconds: 0.05,
};
