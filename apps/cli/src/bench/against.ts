// Another checkout beside this one: the same requests to both servers in turn, and the ratio of each round.
//
//   a server of each checkout for each row, all started first
//   each round: every row, both servers one right after the other, the order changing from round to round
//
// What disturbs the machine in a round disturbs both, so that the ratio holds where the figures do not.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { OWN_ROOT, benchFile } from "./child-process.ts";
import type { BenchOptions } from "./command.ts";
import { credentialJson, endpointName } from "./context-peers.ts";
import { DtlsHelper, securedSubject } from "./dtls/processes.ts";
import type { RunFigures } from "./loop-process.ts";
import type { Ask } from "./messages.ts";
import { Helper, plainSubject, serveSubject, type Subject } from "./processes.ts";
import { medianInterval, spread } from "./statistics.ts";
import { WARM_UP, registered } from "./trial.ts";

/** What a row came to: the new server's rate over the old one's, and the interval that covers the median with 95 %. */
export type Ratio = {
  readonly row: string;
  readonly median: number;
  readonly low: number;
  readonly high: number;
  /** Requests per second of processor time. */
  readonly before: number;
  readonly now: number;
};

/** Both servers of one row. */
type Row = { readonly name: string; readonly before: Side; readonly now: Side };
type Side = {
  readonly subject: Subject;
  readonly run: (seconds: number) => Promise<RunFigures>;
  readonly rates: number[];
};
type Bench = {
  readonly clients: Helper;
  readonly secured: DtlsHelper;
  readonly directory: string;
  readonly subjects: Subject[];
};

/** Measures `name` ("coap", "oscore" or "dtls") of this checkout against the one, built, in `against`. */
export async function benchAgainst(
  name: string,
  against: string,
  { seconds, rounds, short, progress }: BenchOptions,
): Promise<readonly Ratio[]> {
  const root = resolve(against);
  if (!existsSync(benchFile(root, "child.js")))
    throw new Error(`--against ${against}: there is no built checkout (npm ci, npm run build)`);
  const directory = await mkdtemp(join(tmpdir(), "godwit-bench-"));
  const bench: Bench = {
    clients: new Helper(),
    secured: new DtlsHelper(),
    directory,
    subjects: [],
  };
  try {
    progress("starting servers");
    const rows = await rowsOf(name, root, bench, short ? SHORT : FULL);
    for (const row of rows) {
      progress(`warming up ${row.name}`);
      for (const side of [row.before, row.now]) await side.run(short ? seconds : WARM_UP);
    }
    for (let round = 0; round < rounds; round++) {
      for (const row of rows) {
        progress(`round ${round + 1} of ${rounds}: ${row.name}`);
        const sides = [row.before, row.now];
        for (const side of round % 2 === 0 ? sides : sides.toReversed())
          await measure(side, seconds);
      }
    }
    return rows.map(ratioOf);
  } finally {
    await Promise.all(bench.subjects.map((subject) => subject.stop()));
    await Promise.all([bench.clients.stop(), bench.secured.stop()]);
    await rm(directory, { recursive: true, force: true });
  }
}

/** "coap: get, 1 000 clients    1.013 (0.987 to 1.042)". */
export function formatRatios(ratios: readonly Ratio[]): string {
  const lines = ratios.map(({ row, median, low, high, before, now }) => {
    const figures = `${Math.round(before)} before, ${Math.round(now)} now, per CPU-second`;
    return `${row.padEnd(32)} ${median.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})  ${figures}`;
  });
  const all = spread(ratios.map(({ median }) => median)).median;
  return [...lines, `median of all rows ${all.toFixed(3)}`].join("\n");
}

async function rowsOf(name: string, root: string, bench: Bench, size: Size): Promise<Row[]> {
  const make = MAKERS.get(name);
  if (make === undefined) throw new Error(`--against measures ${COMPARED.join(", ")}, not ${name}`);
  const before = await make(root, bench, size);
  const now = await make(OWN_ROOT, bench, size);
  return now.map((side, i) => ({ name: side.name, before: before[i]!, now: side })); // as many of both
}

type Named = Side & { readonly name: string };
type Size = typeof FULL;

async function plain(root: string, bench: Bench, size: Size): Promise<Named[]> {
  const { clients, directory, subjects } = bench;
  await clients.ask({ type: "open", sockets: Math.max(...size.clients) });
  const sides: Named[] = [];
  for (const count of size.clients) {
    const server = await plainSubject(root);
    const serve = await serveSubject(join(directory, `plain-${subjects.length}`), undefined, root);
    subjects.push(server, serve);
    const hello = Array.from({ length: count }, (): Ask => ({ kind: "get", path: "/hello" }));
    const update = await registered(
      hello.map((_, n) => `bench-${n}`),
      { clients, subject: serve, turns: size.registering, secured: false },
    );
    sides.push(
      asking(bench, `coap: get, ${count} clients`, server, hello, size.registering, false),
      asking(bench, `coap: update, ${count} clients`, serve, update, size.turns, false),
    );
  }
  return sides;
}

async function oscore(root: string, bench: Bench, size: Size): Promise<Named[]> {
  const { clients, directory, subjects } = bench;
  await clients.ask({ type: "open", sockets: Math.max(...size.clients) });
  const sides: Named[] = [];
  for (const count of size.clients) {
    const file = join(directory, `credentials-${count}.json`);
    const credentials = Array.from({ length: count }, (_, client) => credentialJson(client));
    await writeFile(file, JSON.stringify(credentials), { mode: 0o600 });
    const serve = await serveSubject(join(directory, `oscore-${subjects.length}`), file, root);
    subjects.push(serve);
    const endpoints = credentials.map((_, client) => endpointName(client));
    const update = await registered(endpoints, {
      clients,
      subject: serve,
      turns: size.registering,
      secured: true,
    });
    sides.push(asking(bench, `oscore: update, ${count} clients`, serve, update, size.turns, true));
  }
  return sides;
}

async function dtls(root: string, bench: Bench, size: Size): Promise<Named[]> {
  const { secured, subjects } = bench;
  const sides: Named[] = [];
  for (const sessions of size.sessions) {
    const server = await securedSubject(false, root);
    subjects.push(server);
    const { port } = server;
    await secured.ask({ type: "open", port, sessions, connectionId: true });
    const ask = { type: "pairs", port, turns: size.registering } as const;
    const name = `dtls: cid pair, ${sessions} sessions`;
    sides.push({
      name,
      subject: server,
      rates: [],
      run: (seconds) => secured.ask({ ...ask, seconds }),
    });
  }
  const server = await securedSubject(false, root);
  subjects.push(server);
  for (const how of ["full", "resume"] as const) {
    const ask = { type: "handshakes", port: server.port, clients: size.shakers, how } as const;
    const run = (seconds: number): Promise<RunFigures> =>
      secured.ask({ ...ask, seconds, goodbye: false });
    const name = `dtls: ${how === "full" ? "full handshake" : "resumption"}`;
    sides.push({ name, subject: server, rates: [], run });
  }
  return sides;
}

function asking(
  { clients }: Bench,
  name: string,
  subject: Subject,
  asks: readonly Ask[],
  turns: number,
  secured: boolean,
): Named {
  const { port } = subject;
  const run = (seconds: number): Promise<RunFigures> =>
    clients.ask({ type: "go", port, turns, seconds, asks, secured });
  return { name, subject, rates: [], run };
}

async function measure({ subject, run, rates }: Side, seconds: number): Promise<void> {
  const before = subject.usage();
  const { completed } = await run(seconds);
  rates.push(completed / Math.max(subject.usage().cpu - before.cpu, TICK));
}

function ratioOf({ name, before, now }: Row): Ratio {
  const ratios = now.rates.map((rate, round) => rate / before.rates[round]!); // as many rounds each
  const [low, high] = medianInterval(ratios);
  const [old, own] = [before, now].map(({ rates }) => spread(rates).median);
  return { row: name, median: spread(ratios).median, low, high, before: old!, now: own! };
}

const MAKERS: ReadonlyMap<string, (root: string, bench: Bench, size: Size) => Promise<Named[]>> =
  new Map([
    ["coap", plain],
    ["oscore", oscore],
    ["dtls", dtls],
  ]);
/** The benchmarks that can be held against another checkout. */
export const COMPARED: readonly string[] = [...MAKERS.keys()];
const FULL = {
  clients: [1, 1_000, 10_000],
  sessions: [16, 1_000, 10_000],
  /** Requests under way at once: the first fits the receive buffer, the second makes a group of what the disk writes. */
  registering: 128,
  turns: 1_000,
  shakers: 32,
};
const SHORT: Size = { clients: [1, 20], sessions: [2, 20], registering: 16, turns: 16, shakers: 4 };
/** s; what /proc cannot resolve further. */
const TICK = 0.01;
