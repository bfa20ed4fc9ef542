// One trial, inside the server's namespace: the real `godwit serve`, devices of every strategy behind a real NAT, a
// reading each 25 to 40 s; then `kill -9` of the server, a new public address and a reboot of the NAT at once; then as
// long again. Prints a line of JSON with what came of it.
//
//   node scripts/nat/trial.mjs '{"tag","mode","phase","oneWay","bothWays","seed"}'
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { seededRng } from "../../packages/base/dist/index.js";
import { NatNetwork, SERVER_HOST } from "./network.mjs";
import { STRATEGIES, credentials, endpointOf } from "./strategies.mjs";

const PORTS = { coap: 5683, coaps: 5684, http: 8080 };
const GODWIT = fileURLToPath(new URL("../../apps/cli/bin/godwit.mjs", import.meta.url));
const DEVICES = fileURLToPath(new URL("devices.mjs", import.meta.url));
const GAP = { shortest: 25_000, longest: 40_000 };
/** ms after the last reading in which every operation must have ended: a device that sleeps speaks once more. */
const SETTLE = 75_000;

const options = JSON.parse(process.argv[2]);
const rng = seededRng(options.seed);
const network = new NatNetwork(options);
const folder = mkdtempSync(join(tmpdir(), "godwit-nat-"));
const data = join(folder, "data");
const names = Object.keys(STRATEGIES);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** By endpoint. */
const arrived = new Map(names.map((name) => [endpointOf(name), new Set()]));
const costs = new Map();
const executed = new Map();
const registrations = new Map();
const operations = [];
/** States of operations that have ended, by id. */
const ended = new Map();
const trouble = [];
let made = 0;
let server;

const file = join(folder, "credentials.json");
writeFileSync(file, JSON.stringify(credentials()), { mode: 0o600 });
server = await serve();
const stream = follow();
const devices = startDevices();
await registered();
for (const name of names) await call("POST", `/devices/${endpointOf(name)}/3303/0/5700?observe`);
await sleep(3_000);

await phase("first");
const before = await handshakes();
server.kill("SIGKILL");
await once(server, "close");
network.renumber();
network.reboot();
server = await serve();
await phase("second");
await settle();
for (const operation of operations) operation.state = await stateOf(operation.id);
const after = await handshakes();
devices.stdin.write(`${JSON.stringify({ stop: true })}\n`);
await once(devices, "close");
stream.stop();
server.kill("SIGTERM");
await once(server, "close");
const rows = await report();
rmSync(folder, { recursive: true, force: true });
console.log(JSON.stringify({ mode: options.mode, made, rows, trouble: trouble.slice(0, 40) }));
process.exit(0);

/** Readings at gaps drawn by the seed, and two operations for each device between them. */
async function phase(which) {
  const end = Date.now() + options.phase;
  while (Date.now() < end) {
    const gap = Math.round(GAP.shortest + rng.float() * (GAP.longest - GAP.shortest));
    await sleep(gap / 2);
    for (const name of names) {
      await operate(name, "GET", "3303/0/5700?wait=0");
      await operate(name, "POST", "3303/0/5605?wait=0");
    }
    await sleep(gap / 2);
    made += 1;
    devices.stdin.write(`${JSON.stringify({ reading: made })}\n`);
  }
  await sleep(6_000);
  say(`${which} phase over: ${made} readings made`);
}

async function operate(name, method, path) {
  const { status, body } = await call(method, `/devices/${endpointOf(name)}/${path}`);
  if (status >= 400) trouble.push(`${method} ${name} ${path}: ${status} ${JSON.stringify(body)}`);
  else operations.push({ name, method, id: body.id });
}

/** Until every operation ended: a reading now and then gives sleeping devices an occasion. */
async function settle() {
  const end = Date.now() + SETTLE;
  for (;;) {
    const states = await Promise.all(operations.map(({ id }) => stateOf(id)));
    if (states.every((state) => state !== "waiting" && state !== "sent")) return;
    if (Date.now() > end) return;
    await sleep(GAP.shortest);
    made += 1;
    devices.stdin.write(`${JSON.stringify({ reading: made })}\n`);
    await sleep(6_000);
  }
}

/** A server forgets most of what has ended: what the events said counts. */
async function stateOf(id) {
  const known = ended.get(id);
  if (known !== undefined) return known;
  const { status, body } = await call("GET", `/tasks/${id}`);
  return status === 200 ? body.state : `gone (${status})`;
}

async function handshakes() {
  const all = new Map();
  for (const name of names) {
    const { body } = await call("GET", `/devices/${endpointOf(name)}`);
    all.set(name, body?.ledger?.handshakes);
  }
  return all;
}

async function report() {
  const rows = [];
  for (const name of names) {
    const endpoint = endpointOf(name);
    const own = operations.filter((operation) => operation.name === name);
    const states = own.map(({ state }) => state);
    rows.push({
      name,
      arrived: [...arrived.get(endpoint)].filter((value) => value >= 1).length,
      missing: Array.from({ length: made }, (_, i) => i + 1).filter(
        (n) => !arrived.get(endpoint).has(n),
      ),
      operations: states.length,
      unended: own
        .filter(({ state }) => state !== "done")
        .map(({ method, id, state }) => `${method} ${id} ${state}`),
      executions: own.filter(({ method }) => method === "POST").length,
      executed: executed.get(endpoint) ?? 0,
      registrations: registrations.get(endpoint) ?? 0,
      device: costs.get(endpoint),
      server: { before: before.get(name), after: after.get(name) },
    });
  }
  return rows;
}

/** The command as an operator starts it; resolves once it is ready. */
async function serve() {
  const line = [GODWIT, "serve", "--data", data, "--credentials", file, "--nosec"];
  for (const [scheme, host] of [
    ["coap", SERVER_HOST],
    ["coaps", SERVER_HOST],
    ["http", "127.0.0.1"],
  ])
    line.push(`--${scheme}`, `${host}:${PORTS[scheme]}`);
  const child = spawn(process.execPath, line, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk) => {
    said += chunk;
    if (process.env.NAT_LOG !== undefined) process.stderr.write(chunk);
  });
  child.on("close", (code, signal) => {
    if (code !== 0 && signal !== "SIGKILL")
      trouble.push(`godwit serve ended with ${code}: ${said.slice(-500)}`);
  });
  for await (const text of createInterface(child.stdout)) {
    if (text !== "Ready") continue;
    child.stdout.resume();
    return child;
  }
  throw new Error(`godwit serve did not start: ${said}`);
}

function startDevices() {
  const state = join(folder, "state");
  const line = ["netns", "exec", network.name("devices"), process.execPath, DEVICES, SERVER_HOST];
  line.push(String(PORTS.coap), String(PORTS.coaps), state, ...names);
  const child = spawn("ip", line, { stdio: ["pipe", "pipe", "inherit"] });
  createInterface(child.stdout).on("line", (text) => {
    const { endpoint, event, ...rest } = JSON.parse(text);
    if (process.env.NAT_LOG !== undefined) say(`device ${text}`);
    if (event === "registered") registrations.set(endpoint, (registrations.get(endpoint) ?? 0) + 1);
    else if (event === "executed") executed.set(endpoint, rest.count);
    else if (event === "cost") costs.set(endpoint, rest);
    else trouble.push(`${endpoint}: ${event} ${rest.detail}`);
  });
  return child;
}

async function registered() {
  const end = Date.now() + 60_000;
  while (registrations.size < names.length) {
    if (Date.now() > end)
      throw new Error(
        `not registered: ${names.filter((name) => !registrations.has(endpointOf(name))).join(", ")}`,
      );
    await sleep(200);
  }
}

/** Server-sent events, over restarts of the server: what came while nobody listened is asked for again. */
function follow() {
  const control = new AbortController();
  let last = "0";
  const run = async () => {
    while (!control.signal.aborted) {
      try {
        const headers = { ...authorization(), "last-event-id": last };
        const { body } = await fetch(`${base()}/events`, { headers, signal: control.signal });
        let text = "";
        for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
          text += chunk;
          const events = text.split("\n\n");
          text = events.pop();
          for (const event of events) heard(event);
        }
      } catch {
        if (control.signal.aborted) return;
        await sleep(100); // the server is away
      }
    }
  };
  void run();
  return { stop: () => control.abort() };

  function heard(event) {
    last = /^id: (.*)$/m.exec(event)?.[1] ?? last;
    const type = /^event: (.*)$/m.exec(event)?.[1];
    if (type !== "notification" && type !== "task") return;
    const { endpoint, answer, id, endedAt, state } = JSON.parse(/^data: (.*)$/m.exec(event)[1]);
    if (type === "task") {
      if (endedAt !== undefined) ended.set(id, state);
      return;
    }
    for (const { value } of answer.values ?? []) arrived.get(endpoint)?.add(value);
  }
}

async function call(method, path) {
  const response = await fetch(`${base()}${path}`, { method, headers: authorization() });
  const text = await response.text();
  return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
}

function base() {
  return `http://127.0.0.1:${PORTS.http}/api/v1`;
}

function authorization() {
  return { authorization: `Bearer ${readFileSync(join(data, "admin-password"), "utf8").trim()}` };
}

function say(text) {
  process.stderr.write(`${options.mode}: ${text}\n`);
}
