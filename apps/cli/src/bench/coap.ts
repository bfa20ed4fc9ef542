import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BenchOptions } from "./command.ts";
import type { Flood } from "./spoofed.ts";
import type { Ask } from "./messages.ts";
import {
  Helper,
  inHelper,
  libcoapSubject,
  plainSubject,
  serveSubject,
  stopAll,
  type Subject,
} from "./processes.ts";
import { atLeast, load, machine, type Figure, type Report, type Target } from "./report.ts";
import type { Retained } from "./retained.ts";
import { answered, measure, rate, registered, throughputOf, WARM_UP, type Trial } from "./trial.ts";

//   a server of each kind for each number of clients, all started first
//   each round: every one of them for some seconds, one after the other
//   then what is kept per exchange, then the flood
//
// A server per number of clients: sessions of 10 000 clients would still be there when one client is measured.

/** `godwit bench coap`: small GETs and durable Updates per second of the server's processor time. */
export async function benchCoap(options: BenchOptions): Promise<Report> {
  if (process.platform !== "linux") throw new Error("bench reads /proc, so it runs on Linux only");
  const size = options.short ? SHORT : FULL;
  const seconds = options.short ? Math.min(options.seconds, SHORT.seconds) : options.seconds;
  const rounds = options.short ? Math.min(options.rounds, SHORT.rounds) : options.rounds;
  const before = load();
  const notes: string[] = [];
  const directory = await mkdtemp(join(tmpdir(), "godwit-bench-"));
  const subjects: Subject[] = [];
  const clients = new Helper();
  try {
    options.progress("starting servers");
    const most = Math.max(...size.clients);
    const { sockets } = await clients.ask({ type: "open", sockets: most });
    if (sockets < most) {
      notes.push(
        `only ${sockets} sockets could be opened instead of ${most}: raise the limit on open files (ulimit -n)`,
      );
    }
    const counts = [...new Set(size.clients.map((n) => Math.min(n, sockets)))];
    const trials = await startAll({ clients, size }, counts, directory, subjects);
    if (!trials.some(({ server }) => server === "libcoap")) {
      notes.push(
        "coap-server-notls is not installed (Debian: libcoap3-bin): nothing to compare with",
      );
    }
    for (const trial of trials) {
      options.progress(`warming up ${trial.server}`);
      await measure(clients, trial, options.short ? seconds : WARM_UP);
      trial.rounds.length = 0;
    }
    for (let round = 1; round <= rounds; round++) {
      for (const trial of trials) {
        options.progress(
          `round ${round} of ${rounds}: ${trial.test}, ${trial.server}, ${trial.asks.length} clients`,
        );
        await measure(clients, trial, seconds);
      }
    }
    const throughput = trials.map(throughputOf);
    await stopAll(subjects);
    options.progress("memory of exchanges");
    const kept = await inHelper((helper) =>
      helper.ask({ type: "retain", sessions: size.sessions, exchanges: size.exchanges }),
    );
    options.progress(`${size.spoofed} spoofed registrations`);
    const flooded = await inHelper((helper) =>
      helper.ask({
        type: "flood",
        registrations: size.spoofed,
        directory: join(directory, "flood"),
      }),
    );
    return {
      benchmark: "coap",
      machine: machine(),
      load: { before, after: load() },
      settings: {
        seconds,
        rounds,
        clients: counts,
        getTurns: size.getTurns,
        updateTurns: size.updateTurns,
        short: options.short,
      },
      throughput,
      figures: [...figuresOf(kept), ...figuresOfFlood(flooded)],
      targets: targetsOf(trials, kept, flooded),
      notes,
    };
  } finally {
    await stopAll(subjects);
    await clients.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

type Bench = { readonly clients: Helper; readonly size: typeof FULL };

/** Starts all servers at once, and brings each to where its trial begins. */
async function startAll(
  { clients, size }: Bench,
  counts: readonly number[],
  directory: string,
  subjects: Subject[],
): Promise<Trial[]> {
  const started = async <T extends Subject | undefined>(starting: Promise<T>): Promise<T> => {
    const subject = await starting;
    if (subject !== undefined) subjects.push(subject);
    return subject;
  };
  const all = await Promise.all(
    counts.map(async (count) => {
      const store = join(directory, `serve-${count}`);
      const [ours, libcoap, lwm2m] = await Promise.all([
        started(plainSubject()),
        started(libcoapSubject()),
        started(serveSubject(store)),
      ]);
      return { count, ours, libcoap, lwm2m };
    }),
  );
  const trials: Trial[] = [];
  for (const { count, ours, libcoap, lwm2m } of all) {
    const hello = Array.from({ length: count }, (): Ask => ({ kind: "get", path: "/hello" }));
    const get = { test: "get", asks: hello, turns: size.getTurns, secured: false } as const;
    trials.push({ ...get, server: "godwit", subject: ours, rounds: [] });
    if (libcoap !== undefined) {
      await answered(
        clients,
        libcoap,
        [{ kind: "put", path: "/hello", payload: "world" }],
        1,
        false,
      );
      trials.push({ ...get, server: "libcoap", subject: libcoap, rounds: [] });
    }
    const asks = await registered(
      hello.map((_, n) => `bench-${n}`),
      { clients, subject: lwm2m, turns: size.getTurns, secured: false },
    );
    const update = { test: "update", server: "godwit", turns: size.updateTurns } as const;
    trials.push({ ...update, subject: lwm2m, asks, rounds: [], secured: false });
  }
  return trials;
}

function figuresOf({
  bytesPerExchange,
  bytesPerSession,
  exchanges,
  remembered,
}: Retained): Figure[] {
  return [
    { name: "kept per deduplicated exchange", value: bytesPerExchange, unit: "bytes" },
    { name: "kept per plain UDP session", value: bytesPerSession, unit: "bytes" },
    { name: "exchanges made", value: exchanges, unit: "" },
    { name: "of them remembered", value: remembered, unit: "" },
  ];
}

function figuresOfFlood({ sent, kept, cpu, rss, live }: Flood): Figure[] {
  return [
    { name: "spoofed registrations sent", value: sent, unit: "" },
    { name: "registrations kept after them", value: kept, unit: "" },
    { name: "spoofed registrations per CPU-second", value: sent / cpu, unit: "" },
    { name: "resident memory before the flood", value: rss[0] ?? 0, unit: "bytes" },
    { name: "resident memory halfway through the flood", value: rss[5] ?? 0, unit: "bytes" },
    { name: "resident memory after the flood", value: rss.at(-1) ?? 0, unit: "bytes" },
    { name: "of it alive, heap and buffers", value: live, unit: "bytes" },
  ];
}

function targetsOf(trials: readonly Trial[], kept: Retained, flooded: Flood): Target[] {
  const of = (test: string, server: string): readonly Trial[] =>
    trials.filter((trial) => trial.test === test && trial.server === server);
  const targets: Target[] = [];
  const gets = of("get", "godwit");
  for (const [i, get] of gets.entries()) {
    const peer = of("get", "libcoap")[i];
    const wanted = peer === undefined ? GETS : Math.min(GETS, Math.round(SHARE * rate(peer)));
    targets.push(atLeast(`GETs per CPU-second, ${get.asks.length} clients`, wanted, rate(get)));
  }
  const updates = of("update", "godwit");
  // A device alone pays for a commit with each Update; what counts is what many cost together.
  for (const update of updates.filter(({ asks }) => asks.length > 1)) {
    targets.push(
      atLeast(
        `durable Updates per CPU-second, ${update.asks.length} clients`,
        UPDATES,
        rate(update),
      ),
    );
  }
  for (const [name, row] of [
    ["GETs", gets],
    ["Updates", updates],
  ] as const) {
    const [first, last] = [row[0], row.at(-1)];
    if (first === undefined || last === undefined || first === last) continue;
    targets.push(
      atLeast(
        `${name}, ${last.asks.length} clients over ${first.asks.length}`,
        1,
        rate(last) / rate(first),
      ),
    );
  }
  targets.push({
    name: "bytes kept per deduplicated exchange",
    wanted: `at most ${BYTES}`,
    reached: kept.bytesPerExchange,
    met: kept.bytesPerExchange <= BYTES,
  });
  const growth = (flooded.rss.at(-1) ?? 0) / (flooded.rss[5] ?? 1);
  targets.push({
    name: "resident memory at the end of the flood over halfway",
    wanted: `at most ${GROWTH}, the honest device kept`,
    reached: growth,
    met: growth <= GROWTH && flooded.honestKept,
  });
  return targets;
}

const FULL = {
  clients: [1, 1_000, 10_000],
  /** Fits the receive buffer that systems grant unasked. */
  getTurns: 128,
  /** What comes while the disk writes is one group, so with more devices the groups are larger. */
  updateTurns: 1_000,
  sessions: 1_000,
  exchanges: 300_000,
  spoofed: 1_000_000,
};
const SHORT = {
  clients: [1, 20],
  getTurns: 16,
  updateTurns: 16,
  sessions: 10,
  exchanges: 2_000,
  spoofed: 500,
  seconds: 0.1,
  rounds: 2,
};
const GETS = 60_000;
/** Of what libcoap reaches in the same run. */
const SHARE = 0.7;
const UPDATES = 25_000;
const BYTES = 400;
const GROWTH = 1.2;
