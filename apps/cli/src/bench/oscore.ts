import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BenchOptions } from "./command.ts";
import { credentialJson, endpointName } from "./context-peers.ts";
import type { Idle } from "./idle.ts";
import { Helper, inHelper, serveSubject, stopAll, type Subject } from "./processes.ts";
import { atLeast, load, machine, type Figure, type Report, type Target } from "./report.ts";
import { spread } from "./statistics.ts";
import {
  WARM_UP,
  measure,
  perCpuSecond,
  rate,
  registered,
  throughputOf,
  type Trial,
} from "./trial.ts";

//   for each number of devices: a server without protection, and one that knows each by an OSCORE credential
//   all registered first; each round: every server for some seconds, plain and protected in turn
//   then the memory of devices that are silent

/** `godwit bench oscore`: durable Updates over OSCORE per second of the server's processor time, beside plain ones. */
export async function benchOscore(options: BenchOptions): Promise<Report> {
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
    const pairs: Pair[] = [];
    for (const count of counts)
      pairs.push(await startPair(clients, size.turns, count, directory, subjects));
    const trials = pairs.flatMap(({ plain, secured }) => [plain, secured]);
    for (const trial of trials) {
      options.progress(`warming up: ${trial.test}, ${trial.asks.length} clients`);
      await measure(clients, trial, options.short ? seconds : WARM_UP);
      trial.rounds.length = 0;
    }
    for (let round = 1; round <= rounds; round++) {
      for (const trial of trials) {
        options.progress(
          `round ${round} of ${rounds}: ${trial.test}, ${trial.asks.length} clients`,
        );
        await measure(clients, trial, seconds);
      }
    }
    await stopAll(subjects);
    options.progress("memory of silent devices");
    const silent = await inHelper((helper) => helper.ask({ type: "idle", devices: size.devices }));
    return {
      benchmark: "oscore",
      machine: machine(),
      load: { before, after: load() },
      settings: { seconds, rounds, clients: counts, turns: size.turns, short: options.short },
      throughput: trials.map(throughputOf),
      figures: figuresOf(silent),
      targets: targetsOf(pairs),
      notes,
    };
  } finally {
    await stopAll(subjects);
    await clients.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

/** The same devices with and without protection, measured one right after the other. */
type Pair = { readonly plain: Trial; readonly secured: Trial };

async function startPair(
  clients: Helper,
  turns: number,
  count: number,
  directory: string,
  subjects: Subject[],
): Promise<Pair> {
  const file = join(directory, `credentials-${count}.json`);
  const credentials = Array.from({ length: count }, (_, client) => credentialJson(client));
  await writeFile(file, JSON.stringify(credentials), { mode: 0o600 });
  const trial = async (secured: boolean): Promise<Trial> => {
    const store = join(directory, `${secured ? "oscore" : "plain"}-${count}`);
    const subject = await serveSubject(store, secured ? file : undefined);
    subjects.push(subject);
    const endpoints = credentials.map((_, client) => endpointName(client));
    const asks = await registered(endpoints, { clients, subject, turns: REGISTERING, secured });
    return {
      test: secured ? "oscore update" : "plain update",
      server: "godwit",
      subject,
      asks,
      turns,
      secured,
      rounds: [],
    };
  };
  return { plain: await trial(false), secured: await trial(true) };
}

function figuresOf(silent: Idle): Figure[] {
  return [
    { name: "silent devices, plain", value: silent.registered, unit: "" },
    { name: "each of them keeps", value: silent.bytesPerDevice, unit: "bytes" },
    { name: "silent devices, OSCORE", value: silent.registeredSecured, unit: "" },
    { name: "each keeps before it registers", value: silent.bytesPerContext, unit: "bytes" },
    { name: "each keeps registered", value: silent.bytesPerSecuredDevice, unit: "bytes" },
  ];
}

function targetsOf(pairs: readonly Pair[]): Target[] {
  const targets = pairs.map((pair) =>
    atLeast(`protected Updates over plain ones, ${count(pair)} contexts`, SHARE, share(pair)),
  );
  const last = pairs.at(-1);
  for (const pair of pairs) {
    if (last === undefined || pair === last) continue;
    targets.push(
      atLeast(
        `protected Updates, ${count(last)} contexts over ${count(pair)}`,
        NO_FALL,
        rate(last.secured) / rate(pair.secured),
      ),
    );
    if (count(pair) === 1) continue; // one device is a commit for each Update: little else shows
    targets.push(
      atLeast(
        `the same, without what plain ones lose`,
        NO_FALL,
        rate(last.secured) / rate(pair.secured) / (rate(last.plain) / rate(pair.plain)),
      ),
    );
  }
  return targets;
}

/** Median over the rounds of each round's own ratio: what disturbs a round disturbs both. */
function share({ plain, secured }: Pair): number {
  const ratios = secured.rounds.map((round, i) => {
    return perCpuSecond(round) / perCpuSecond(plain.rounds[i]!); // as many rounds each
  });
  return spread(ratios).median;
}

function count({ secured }: Pair): number {
  return secured.asks.length;
}

const FULL = {
  clients: [1, 1_000, 10_000],
  /** As in the benchmark of plain CoAP: what comes while the disk writes is one group. */
  turns: 1_000,
  devices: 10_000,
};
const SHORT = { clients: [1, 20], turns: 16, devices: 200, seconds: 0.1, rounds: 2 };
/** Registrations under way at once: they fit the receive buffer. */
const REGISTERING = 128;
const SHARE = 0.4;
/** Of the rate with fewer contexts; below 1 by what a busy machine makes the medians differ. */
const NO_FALL = 0.95;
