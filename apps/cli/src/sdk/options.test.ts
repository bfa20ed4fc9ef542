import assert from "node:assert/strict";
import { test } from "node:test";
import { runProgram } from "./program.test-kit.ts";

/** A call as a user writes it, and what its UsageError says. `server` runs, `remote` is a device of it, `device` is not started. */
const CALLS: readonly (readonly [string, RegExp])[] = [
  [`new Device()`, /new Device\(\): options are one object/],
  [`new Device({ server: "coap://127.0.0.1" })`, /endpoint is missing/],
  [
    `new Device({ endpoint: "", server: "coap://127.0.0.1" })`,
    /endpoint must be text of 1 to 255 bytes.*not ""/,
  ],
  [
    `new Device({ endpoint: "a", server: "coap://127.0.0.1", lifetime: "60" })`,
    /lifetime must be a whole number.*not "60"/,
  ],
  [
    `new Device({ endpoint: "a", server: "coap://127.0.0.1", lwm2m: "2.0" })`,
    /lwm2m must be "1.0" or "1.1" or "1.2", not "2.0"/,
  ],
  [`new Device({ endpoint: "a", server: "coap://127.0.0.1", nosuch: 1 })`, /no option "nosuch"/],
  [
    `new Device({ endpoint: "a", server: "coap://127.0.0.1", lifetme: 1 })`,
    /did you mean "lifetime"/,
  ],
  [
    `new Device({ endpoint: "a", server: "coap://127.0.0.1", keepAlive: 3 })`,
    /keepAlive must be "off" or "auto", or a finite number of at least 15/,
  ],
  [
    `new Device({ endpoint: "a", server: "coap://127.0.0.1", queueMode: "yes" })`,
    /queueMode must be true or false/,
  ],
  [
    `new Device({ endpoint: "a", server: "coap://127.0.0.1", store: {} })`,
    /store must be made by fileStore/,
  ],
  [
    `new Device({ endpoint: "a", server: "coap://127.0.0.1", security: {} })`,
    /security must be made by psk/,
  ],
  [
    `new Device({ endpoint: "a", server: "coap://127.0.0.1", tuning: { awakWindow: 1 } })`,
    /tuning: there is no option "awakWindow"; did you mean "awakeWindow"/,
  ],
  [
    `new Device({ endpoint: "a", server: "coap://127.0.0.1", limits: { readTimeout: "1" } })`,
    /limits: readTimeout must be/,
  ],
  [`new Device({ endpoint: "a", server: "http://127.0.0.1" })`, /no scheme of a server/],
  [`device.on("registred", () => undefined)`, /no event "registred"; did you mean "registered"/],
  [`device.on("registered")`, /a listener is a function/],
  [`device.add(3303, { 5700: 1, 5701: "Cel" })`, /\/3303\/0 is there already/],
  [`device.add(3303, { 5700: 1 }, -1)`, /instance must be a whole number from 0 to 65534, not -1/],
  [`device.add(3303, { 5700: 1 }, "x")`, /instance must be.*not "x"/],
  [`device.add("3303", { 5700: 1 })`, /object must be/],
  [`device.add(3303, undefined, 1)`, /resources must be an object/],
  [`device.add(3303, { 5700: null }, 1)`, /resource 5700, Sensor Value has no value/],
  [
    `device.add(3303, { 5700: { read: 5 } }, 1)`,
    /resource 5700, Sensor Value: read must be a function/,
  ],
  [`device.set("/3303/0/5700", null)`, /value must be a string, number/],
  [`device.set("/3303/0/5601", 3)`, /\/3303\/0\/5601 was not added/],
  [`device.set("3303/0/5700", 1)`, /"3303\/0\/5700" is no path such as/],
  [`device.changed(5)`, /number is no path/],
  [`device.start({ signal: 5 })`, /signal must be an AbortSignal/],
  [`device.stop({ deregistr: false })`, /did you mean "deregister"/],
  [`device.stop({ patience: Number.NaN })`, /patience must be.*not NaN/],
  [`psk("a", "00")`, /8 to 64 bytes/],
  [`psk(5, "00")`, /identity is text/],
  [`psk("a", undefined)`, /key must be PEM, hex/],
  [`oscore({ senderId: "01" })`, /recipientId is missing/],
  [`rpk()`, /rpk\(\): options are one object/],
  [`x509({ certificate: "", key: "", usage: 4 })`, /usage must be 0 or 1 or 2 or 3, not 4/],
  [`new Server()`, /new Server\(\): options are one object/],
  [`new Server({})`, /needs coap or coaps/],
  [`new Server({ coap: "127.0.0.1" })`, /write HOST:PORT/],
  [`new Server({ coap: "127.0.0.1:70000" })`, /coap: .* is no address/],
  [`new Server({ coaps: "localhost:5684" })`, /coaps: "localhost" is no IP address/],
  [`new Server({ coap: 5683 })`, /coap must be text, HOST:PORT/],
  [`new Server({ coap: "127.0.0.1:0", nosek: true })`, /did you mean "nosec"/],
  [
    `new Server({ coap: "127.0.0.1:0", tuning: { awakeWindow: -1 } })`,
    /awakeWindow must be a finite number of at least 0/,
  ],
  [`new Server({ coap: "127.0.0.1:0", store: new Map() })`, /store must be a store/],
  [`server.on("registred", () => undefined)`, /did you mean "registered"/],
  [`server.device("")`, /endpoint must be text/],
  [`server.device(undefined)`, /endpoint must be text/],
  [
    `remote.read("/3303/0/5700", { expires: Number.NaN })`,
    /read \/3303\/0\/5700: expires must be a whole number.*not NaN/,
  ],
  [`remote.read("/3303/0/5700", { expires: "100" })`, /expires must be.*not "100"/],
  [`remote.read("/3303/0/5700", { expire: 100 })`, /did you mean "expires"/],
  [`remote.read("nowhere")`, /"nowhere" is no path/],
  [`remote.read(undefined)`, /undefined is no path/],
  [`remote.write("/3303/0/5700", null)`, /value must be/],
  [`remote.write("/3303/0", { 5601: null })`, /value must be/],
  [
    `remote.write("/3303/0/5700", 1, { mode: "merge" })`,
    /mode must be "replace" or "update", not "merge"/,
  ],
  [`remote.create(-1, 0, {})`, /object must be/],
  [`remote.create(3303, "x", {})`, /instance must be/],
  [`remote.writeAttributes("/3303/0/5700", { pmi: 1 })`, /did you mean "pmin"/],
  [`remote.observe("/3303/0/5700", { pmin: "1" })`, /pmin must be a whole number/],
  [`remote.observe("/3303/0/5700", { st: 0 })`, /st must be a finite number above 0/],
  [`server.addCredential(undefined)`, /no kind of credential undefined/],
  [`server.addCredential({ kind: "pks" })`, /did you mean "psk"/],
  [
    `server.addCredential({ kind: "psk", endpoint: "a", identity: "i", key: "00" })`,
    /key must be bytes \(a Uint8Array\)$/,
  ],
  [`server.start()`, /the server is started/],
];

test("E9: every option, path, value and event name of both SDKs is looked at when it is given", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const { oscore, psk, rpk, x509 } = await import("@godwit/client");
    const { UsageError } = await import("@godwit/server");
    const server = await openServer();
    const device = thermometer(server);
    const remote = server.device("thermometer");
    const calls = [${CALLS.map(([call]) => `() => ${call}`).join(",\n")}];
    for (const call of calls) {
      try {
        await call();
        report("accepted");
      } catch (fault) {
        report([fault instanceof UsageError, fault.message]);
      }
    }
    await server.close();
  `);
  for (const [at, [call, says]] of CALLS.entries()) {
    const [isUsage, message] = reports[at] as [boolean, string];
    assert.equal(isUsage, true, `${call}: ${String(reports[at])}`);
    assert.match(message, says, call);
  }
  assert.equal(reports.length, CALLS.length);
  assert.equal(exit, 0, stderr);
});
