import type { BenchOptions } from "../command.ts";
import type { RunFigures } from "../loop-process.ts";
import {
  load,
  machine,
  type Figure,
  type Report,
  type Target,
  type Throughput,
} from "../report.ts";
import { spread, type Spread } from "../statistics.ts";
import type { IdleMemory } from "./asks.ts";
import {
  DtlsHelper,
  californiumSubject,
  libcoapDtlsSubject,
  securedSubject,
  type DtlsSubject,
} from "./processes.ts";

//   a server of each kind for each number of sessions, all sessions opened first
//   and one of each kind for handshakes
//   each round: every one of them for some seconds, one after the other
//   then what an idle session keeps

/** `godwit bench dtls`: GETs over DTLS sessions and handshakes per second of the server's processor time. */
export async function benchDtls(options: BenchOptions): Promise<Report> {
  if (process.platform !== "linux") throw new Error("bench reads /proc, so it runs on Linux only");
  const size = options.short ? SHORT : FULL;
  const seconds = options.short ? Math.min(options.seconds, SHORT.seconds) : options.seconds;
  const rounds = options.short ? Math.min(options.rounds, SHORT.rounds) : options.rounds;
  const before = load();
  const notes: string[] = [];
  const subjects: DtlsSubject[] = [];
  const clients = new DtlsHelper();
  try {
    const trials = await startAll({ clients, size, subjects, notes, progress: options.progress });
    for (const trial of trials) {
      options.progress(`warming up ${trial.server}`);
      await measure(trial, options.short ? seconds : WARM_UP);
      trial.rounds.length = 0;
    }
    for (let round = 1; round <= rounds; round++) {
      for (const trial of trials) {
        options.progress(`round ${round} of ${rounds}: ${trial.test}, ${trial.server}`);
        await measure(trial, seconds);
      }
    }
    const throughput = trials.map(throughputOf);
    await stopAll(subjects);
    options.progress("memory of idle sessions");
    const idle = await idleIn(size.idle);
    return {
      benchmark: "dtls",
      machine: machine(),
      load: { before, after: load() },
      settings: {
        seconds,
        rounds,
        sessions: size.sessions,
        turns: size.turns,
        handshakesAtOnce: size.shakers,
        suite: "TLS_PSK_WITH_AES_128_CCM_8",
        short: options.short,
      },
      throughput,
      figures: figuresOf(throughput, idle),
      targets: targetsOf(throughput, idle),
      notes,
    };
  } finally {
    await stopAll(subjects);
    await clients.stop();
  }
}

type Bench = {
  readonly clients: DtlsHelper;
  readonly size: typeof FULL;
  readonly subjects: DtlsSubject[];
  readonly notes: string[];
  readonly progress: (text: string) => void;
};

type Test = "cid pair" | "pair" | "handshake" | "resumption" | "echo";

/** One line of the table while it is being measured. */
type Trial = {
  readonly test: Test;
  readonly server: "godwit" | "libcoap" | "californium";
  readonly clients: number;
  readonly subject: DtlsSubject;
  readonly run: (seconds: number) => Promise<RunFigures>;
  readonly rounds: Round[];
};

type Round = RunFigures & { readonly cpu: number; readonly rss: number };

/** Starts all servers, and opens all sessions with them. */
async function startAll(bench: Bench): Promise<Trial[]> {
  const { clients, size, subjects, notes, progress } = bench;
  const trials: Trial[] = [];
  const started = async (starting: Promise<DtlsSubject | undefined>) => {
    const subject = await starting;
    if (subject !== undefined) subjects.push(subject);
    return subject;
  };
  const pairs = async (server: Trial["server"], subject: DtlsSubject, wanted: number) => {
    const connectionId = server !== "libcoap";
    const { port } = subject;
    progress(`opening ${wanted} sessions with ${server}`);
    const { sessions } = await clients.ask({ type: "open", port, sessions: wanted, connectionId });
    if (sessions < wanted) {
      notes.push(
        `only ${sessions} sockets could be opened instead of ${wanted}: raise the limit on open files (ulimit -n)`,
      );
    }
    trials.push({
      test: connectionId ? "cid pair" : "pair",
      server,
      clients: sessions,
      subject,
      run: (seconds) => clients.ask({ type: "pairs", port, turns: size.turns, seconds }),
      rounds: [],
    });
  };
  const echoes = async (subject: DtlsSubject, wanted: number) => {
    const { port } = subject;
    const { sessions } = await clients.ask({ type: "meet", port, clients: wanted });
    trials.push({
      test: "echo",
      server: "godwit",
      clients: sessions,
      subject,
      run: (seconds) => clients.ask({ type: "pairs", port, turns: size.turns, seconds }),
      rounds: [],
    });
  };
  const handshakes = (server: Trial["server"], subject: DtlsSubject, how: "full" | "resume") => {
    const { port } = subject;
    const ask = { type: "handshakes", port, clients: size.shakers, how } as const;
    trials.push({
      test: how === "full" ? "handshake" : "resumption",
      server,
      clients: size.shakers,
      subject,
      run: (seconds) => clients.ask({ ...ask, seconds, goodbye: server !== "godwit" }),
      rounds: [],
    });
  };
  let compared = false;
  for (const sessions of size.sessions) {
    const ours = await started(securedSubject());
    const libcoap = await started(libcoapDtlsSubject());
    if (ours !== undefined) await pairs("godwit", ours, sessions);
    const echo = await started(securedSubject(true));
    if (echo !== undefined) await echoes(echo, sessions);
    const californium = size === SHORT ? undefined : await started(californiumSubject());
    if (californium !== undefined) await pairs("californium", californium, sessions);
    if (libcoap === undefined) continue;
    compared = true;
    await pairs("libcoap", libcoap, sessions);
    const { refused } = await clients.ask({ type: "prepare", port: libcoap.port });
    if (refused > 0) throw new Error("libcoap refused to make /hello");
  }
  const ours = await started(securedSubject());
  const libcoap = await started(libcoapDtlsSubject());
  if (ours !== undefined) handshakes("godwit", ours, "full");
  if (libcoap !== undefined) handshakes("libcoap", libcoap, "full");
  const californium = size === SHORT ? undefined : await started(californiumSubject());
  if (californium !== undefined) handshakes("californium", californium, "full");
  if (ours !== undefined) handshakes("godwit", ours, "resume");
  if (!compared) {
    notes.push(
      "coap-server-openssl is not installed (Debian: libcoap3-bin): nothing to compare with",
    );
  }
  return trials;
}

async function measure({ subject, run, rounds }: Trial, seconds: number): Promise<void> {
  const before = subject.usage();
  const figures = await run(seconds);
  const after = subject.usage();
  rounds.push({ ...figures, cpu: after.cpu - before.cpu, rss: after.rss });
}

async function idleIn(sessions: number): Promise<IdleMemory> {
  const helper = new DtlsHelper(["--expose-gc"]);
  try {
    return await helper.ask({ type: "idle", sessions });
  } finally {
    await helper.stop();
  }
}

async function stopAll(subjects: DtlsSubject[]): Promise<void> {
  await Promise.all(subjects.splice(0).map((subject) => subject.stop()));
}

function throughputOf({ test, server, clients, rounds }: Trial): Throughput {
  const over = (of: (round: Round) => number): Spread => spread(rounds.map(of));
  const sum = (of: (round: Round) => number): number =>
    rounds.reduce((total, round) => total + of(round), 0);
  return {
    test,
    server,
    clients,
    perCpuSecond: over(({ completed, cpu }) => completed / Math.max(cpu, TICK)),
    perSecond: over(({ completed, elapsed }) => completed / elapsed),
    p50: over(({ p50 }) => p50),
    p99: over(({ p99 }) => p99),
    requests: sum(({ completed }) => completed),
    refused: sum(({ refused }) => refused),
    retransmitted: sum(({ retransmitted }) => retransmitted),
    rss: rounds.at(-1)?.rss ?? 0,
  };
}

/** Few clients and many: what of the rate is left with the many. */
function fallOf(throughput: readonly Throughput[], test: Test): Fall | undefined {
  const rows = throughput.filter((t) => t.test === test && t.server === "godwit");
  const [first, last] = [rows[0], rows.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  return { first, last, ratio: last.perCpuSecond.median / first.perCpuSecond.median };
}

type Fall = { readonly first: Throughput; readonly last: Throughput; readonly ratio: number };

function figuresOf(
  throughput: readonly Throughput[],
  { sessions, heap, buffers, withoutResumption }: IdleMemory,
): Figure[] {
  const echo = fallOf(throughput, "echo");
  const figures: Figure[] = [];
  if (echo !== undefined) {
    const name = `echo, ${echo.last.clients} clients over ${echo.first.clients}`;
    figures.push({ name, value: echo.ratio, unit: "" });
  }
  return [
    ...figures,
    { name: "idle sessions", value: sessions, unit: "" },
    { name: "heap per idle session", value: heap, unit: "bytes" },
    { name: "buffers per idle session", value: buffers, unit: "bytes" },
    { name: "both, nothing kept to resume", value: withoutResumption, unit: "bytes" },
  ];
}

function targetsOf(throughput: readonly Throughput[], idle: IdleMemory): Target[] {
  const of = (test: Test): readonly Throughput[] =>
    throughput.filter((t) => t.test === test && t.server === "godwit");
  const targets: Target[] = [];
  const atLeast = (name: string, wanted: number, reached: number): void => {
    targets.push({ name, wanted: `at least ${wanted}`, reached, met: reached >= wanted });
  };
  const pairs = fallOf(throughput, "cid pair");
  if (pairs !== undefined) {
    const { first, last, ratio } = pairs;
    const many = last.perCpuSecond.median;
    atLeast(`CID pairs per CPU-second, ${last.clients} sessions`, PAIRS, many);
    atLeast(`CID pairs, ${last.clients} sessions over ${first.clients}`, 1, ratio);
    const echo = fallOf(throughput, "echo");
    if (echo !== undefined) {
      const seconds = (of: Throughput): number => 1 / of.perCpuSecond.median;
      const around = seconds(echo.last) - seconds(echo.first);
      const own = seconds(first) / (seconds(last) - around);
      atLeast("the same, without what an echo takes more for so many", OWN_SHARE, own);
    }
  }
  for (const { perCpuSecond } of of("handshake")) {
    atLeast("full handshakes per CPU-second", HANDSHAKES, perCpuSecond.median);
  }
  const reached = idle.heap + idle.buffers;
  targets.push({
    name: "bytes per idle session, its resumption included",
    wanted: `at most ${BYTES}`,
    reached,
    met: reached <= BYTES,
  });
  return targets;
}

const FULL = {
  sessions: [16, 1_000, 10_000],
  /** Fits the receive buffer that systems grant unasked. */
  turns: 128,
  /** Clients that do handshakes at once. */
  shakers: 32,
  idle: 10_000,
};
const SHORT = { sessions: [2, 20], turns: 16, shakers: 4, idle: 200, seconds: 0.1, rounds: 1 };
/** s; the compiler of the server's JavaScript has settled by then. */
const WARM_UP = 3;
/** s; what /proc cannot resolve further. */
const TICK = 0.01;
const PAIRS = 25_000;
/** What the rounds can tell from 1. */
const OWN_SHARE = 0.95;
const HANDSHAKES = 4_000;
const BYTES = 1_024;
