// Kills the real server again and again, and audits what is left: `npm run crash -- --rounds 50 --devices 1000`.
//
//   --rounds N    how often (50)          --seed N    of an earlier run
//   --devices N   real devices (1000)     --short     5 rounds with 100 devices
//   --security dtls    the devices come by DTLS with a Connection ID: a handshake after a kill fails the round, and so
//                      does a nonce that the server uses twice
//
//   --security oscore    devices with OSCORE, killed in every other round; 100 rounds with 90 devices, --short 4 with 30.
//                        All their datagrams are captured and opened: no nonce may be used for two messages.
//
// A round that fails says what was lost, and the seed. The last line counts the rounds.
import { parseArgs } from "node:util";
import { CrashRounds } from "../../apps/cli/dist/crash/rounds.test-kit.js";
import { socketsFault } from "../../apps/cli/dist/fleet/open-files.js";

const { values } = parseArgs({
  options: {
    rounds: { type: "string" },
    devices: { type: "string" },
    seed: { type: "string" },
    security: { type: "string", default: "none" },
    short: { type: "boolean", default: false },
  },
});
const { security, short } = values;
if (!["none", "dtls", "oscore"].includes(security))
  throw new Error("--security none, dtls or oscore");
const secured = security === "oscore";
const rounds = Number(values.rounds ?? (secured ? (short ? 4 : 100) : short ? 5 : 50));
const devices = Number(values.devices ?? (secured ? (short ? 30 : 90) : short ? 100 : 1_000));
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const dtls = security === "dtls";
const fault = socketsFault(dtls ? 4 * devices : devices); // the tap has one for each device, and for each of its lives
if (fault !== undefined) throw new Error(fault);
console.log(`seed ${seed}, ${devices} devices, ${rounds} rounds`);

const began = performance.now();
const crash = await CrashRounds.open({
  devices,
  seed,
  security,
  load: secured ? 1_000 : 1_500,
  settle: secured ? 1_200 : 1_500,
  updateRate: Math.max(secured ? 150 : 50, devices * 0.6),
  users: 4,
  ...(dtls && { load: 700 }),
});
if (dtls) await crash.enrol();
const ready = [];
const total = { updates: 0, orders: 0, waiting: 0 };
let passed = 0;
for (let n = 1; n <= rounds; n++) {
  const report = await crash.round();
  // The last round's devices all speak, and nothing may be left waiting.
  const faults =
    n === rounds ? [...report.faults, ...(await crash.finish(110_000))] : report.faults;
  const { killed, killedAfter, readyAfter, registrations, updates, orders, waiting } = report;
  console.log(
    `${String(n).padStart(3)} ${faults.length === 0 ? "ok  " : "FAIL"} ${killed} killed after ${killedAfter} ms, ready again after ${readyAfter} ms: ` +
      `${registrations} registrations, ${updates} updates, ${orders} orders, ${waiting} of them waiting`,
  );
  for (const line of faults.slice(0, 20)) console.log(`      ${line}`);
  if (faults.length > 20) console.log(`      and ${faults.length - 20} more`);
  if (faults.length > 0) console.log(`      seed ${seed}`);
  if (faults.length === 0) passed += 1;
  if (n > 1 && killed === "server") ready.push(readyAfter);
  total.updates += updates;
  total.orders += orders;
  total.waiting += waiting;
}
const registers = crash.devices.reduce((sum, device) => sum + device.registrations, 0);
const lives = crash.devices.reduce((sum, device) => sum + device.lives, 0);
const handshakes = crash.devices.reduce((sum, device) => sum + device.handshakes, 0);
const resumed = crash.devices.reduce((sum, device) => sum + device.resumed, 0);
const { code, took } = await crash.close();
if (crash.secured !== undefined) {
  const { audit, runs } = crash.secured;
  console.log(
    `${audit.messages} protected datagrams captured, ${audit.repeated} of them sent again byte for byte; ${audit.nonces} pairs of key and nonce, ` +
      `each for one message; ${audit.echoes} Echo challenges; ${runs} runs of B.2; ${audit.unprotected} unprotected answers; ` +
      `${resumed} registrations taken up again by an Update; ${crash.unsure} orders whose device cannot say whether it obeyed`,
  );
}
ready.sort((a, b) => a - b);
console.log(
  `${total.updates} updates and ${total.orders} orders promised, ${total.waiting} orders outlived a kill before they were carried out; ` +
    `${registers} registrations in ${lives} lives of devices; ${crash.executions} executions, each once`,
);
console.log(
  `ready again after ${ready[ready.length >> 1] ?? "-"} ms (median; ${ready.at(-1) ?? "-"} at most); ` +
    `SIGTERM ended it in ${took} ms with status ${code}; ${Math.round((performance.now() - began) / 1_000)} s in all`,
);
if (crash.tap !== undefined) {
  const { hellos, records } = crash.tap;
  console.log(
    `${handshakes} handshakes (${hellos} ClientHellos) in ${lives} lives of devices; ${records} records of the server captured`,
  );
}
console.log(`${passed} passed, ${rounds - passed} failed`);
process.exit(passed === rounds && code === 0 ? 0 : 1);
