// Programs as users write them, in a process of their own: what they print, how they end, and whether a rejection of theirs
// went unhandled.

import { execFile } from "node:child_process";
import { join } from "node:path";

export type Ended = {
  /** What `report(…)` was given, in order. */
  readonly reports: readonly unknown[];
  readonly exit: number | string;
  readonly stderr: string;
};

/** Runs a module that may use all of `PRELUDE`; rejects unless it ends by itself within `limit` ms. */
export function runProgram(source: string, limit = 30_000): Promise<Ended> {
  const cwd = join(import.meta.dirname, "../..");
  return new Promise((resolve, reject) => {
    const options = { cwd, timeout: limit, killSignal: "SIGKILL" } as const;
    const args = ["--input-type=module", "--eval", `${PRELUDE}\n${source}`];
    execFile(process.execPath, args, options, (fault, stdout, stderr) => {
      if (fault?.killed) {
        reject(new Error(`the program did not end by itself:\n${stdout}\n${stderr}`));
        return;
      }
      const reports = stdout
        .split("\n")
        .filter((line) => line.startsWith(MARK))
        .map((line) => JSON.parse(line.slice(MARK.length)) as unknown);
      resolve({ reports, exit: fault === null ? 0 : (fault.code ?? fault.signal ?? 1), stderr });
    });
  });
}

const MARK = "report ";

const PRELUDE = `
import { Device } from "@godwit/client";
import { Server } from "@godwit/server";

const report = (value) => console.log("${MARK}" + JSON.stringify(value ?? null));
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const once = (of, name) => new Promise((done) => { const stop = of.on(name, (event) => { stop(); done(event); }); });
/** What a promise comes to within a second: its value, the error's class and code, or "pending". */
const outcome = (promise, ms = 1_000) => Promise.race([
  promise.then((value) => ({ value: value ?? null }), (fault) => ({ name: fault.name, code: fault.code, message: fault.message })),
  pause(ms).then(() => "pending"),
]);
const openServer = async (options = {}) => {
  const server = new Server({ coap: "127.0.0.1:0", nosec: true, ...options });
  await server.start();
  return server;
};
const thermometer = (server, options = {}, resources = {}) => {
  const device = new Device({ endpoint: "thermometer", server: "coap://" + server.addresses[0], ...options });
  device.add(3303, { 5700: 21.5, 5701: "Cel", 5605: () => undefined, ...resources });
  return device;
};
const registered = async (device) => {
  const there = once(device, "registered");
  await device.start();
  await there;
  return device;
};
/** The paths of the thermometer that are observed. */
const observed = (server) => server.deviceView("thermometer").observations.map(({ path }) => path);
/** A handle that was closed is gone a turn of the loop later. */
const sockets = async () => { await pause(20); return openSockets(); };
const openSockets = () => process.getActiveResourcesInfo().filter((name) => name === "UDPWrap" || name === "UDPWRAP").length;
`;
