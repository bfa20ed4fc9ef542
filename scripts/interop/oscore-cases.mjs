// OSCORE (RFC 8613): Leshan's device under Godwit's server, and Godwit's device under Leshan's server. This Leshan begins
// with the credential's own context, and its server throws at the first request of Appendix B.2: it wants no ID Context.
import { equal, match } from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "./bench.mjs";
import { startDevice } from "./godwit-device.mjs";
import { startServer } from "./godwit-lwm2m.mjs";
import { startLeshan } from "./peers.mjs";

const ENDPOINT = "urn:dev:ops:32473-interop-oscore";
const SECRET = "0102030405060708090a0b0c0d0e0f10";
const DEVICE_ID = "01";
const SERVER_ID = "aa";
const VALUE = "/3303/0/5700";

/** What happens to Leshan's device that has registered under OSCORE. */
const SERVER_STEPS = {
  async "registers, updates and de-registers"({ device, heard, server }) {
    const { device: seen } = await heard.next("registered");
    equal(seen.identity.kind, "oscore");
    device.say("update");
    await device.expect(/^updated/);
    await heard.next("updated");
    equal(server.ledgerOf(ENDPOINT).drops.forged ?? 0, 0);
    device.say("stop");
    await device.expect(/^deregistered/);
    equal((await heard.next("deregistered")).why, "device");
  },
  async "is read, written and executed"({ device, remote }) {
    equal(await remote.read(VALUE), 20.5);
    await remote.write("/3/0/14", "+02:00");
    equal(await remote.read("/3/0/14"), "+02:00");
    await remote.execute("/3/0/4", "0='a'");
    equal((await device.expect(/^executed \/3\/0\/4 (.*)$/))[1], "0='a'");
  },
  async "is observed"({ device, remote }) {
    const seen = new Set();
    for await (const { value } of remote.observe(VALUE)) {
      seen.add(value);
      if (seen.size === 3) break;
      device.say(`set 5700 ${20.5 + seen.size}`);
    }
    equal([...seen].join(), "20.5,21.5,22.5");
  },
};

/** What Leshan's server does with Godwit's device under OSCORE. */
const DEVICE_STEPS = {
  async "registers and updates"({ device, server, line }) {
    match(line, /<\/3303\/0>/);
    await server.expect(/^updated/); // at half the lifetime
    await device.expect(/ updated$/);
  },
  async "is read, written and executed"({ device, server }) {
    await server.ask(`read ${ENDPOINT} ${VALUE}`, /^answer 205 -?\d/);
    await server.ask(`write ${ENDPOINT} TEXT /3/0/14 +02:00`, /^answer 204/);
    await device.expect(/ written: \/3\/0\/14$/);
    await server.ask(`execute ${ENDPOINT} /3303/0/5605`, /^answer 204/);
    await device.expect(/ extremes reset$/);
  },
};

export const oscoreCases = [
  ...Object.entries(SERVER_STEPS).map(([name, step]) => ({
    group: "OSCORE server of Godwit",
    peer: "leshan",
    name: `a device ${name}`,
    short: true,
    async run(bench) {
      const { server, heard, port } = await startServer(bench, {
        credentials: [
          {
            kind: "oscore",
            endpoint: ENDPOINT,
            senderId: Buffer.from(SERVER_ID, "hex"),
            recipientId: Buffer.from(DEVICE_ID, "hex"),
            masterSecret: Buffer.from(SECRET, "hex"),
            derivation: "both",
          },
        ],
      });
      const uri = `coap://127.0.0.1:${port}`;
      const keys = ["oscore", DEVICE_ID, SERVER_ID, SECRET];
      const device = startLeshan(bench, "LeshanDevice", ENDPOINT, uri, 60, ...keys);
      await device.expect(/^registered/, 20_000);
      await step({ device, heard, server, remote: server.device(ENDPOINT) });
    },
  })),
  ...Object.entries(DEVICE_STEPS).map(([name, step]) => ({
    group: "OSCORE device of Godwit",
    peer: "leshan",
    name: `the device ${name}`,
    short: true,
    async run(bench) {
      const port = await freePort();
      const keys = ["oscore", ENDPOINT, SERVER_ID, DEVICE_ID, SECRET];
      const server = startLeshan(bench, "LeshanServer", port, ...keys);
      await server.expect(/^listening/, 20_000);
      const state = await bench.scratch();
      const file = join(state, "oscore.json");
      const credential = {
        senderId: DEVICE_ID,
        recipientId: SERVER_ID,
        masterSecret: SECRET,
        derivation: "fixed",
      };
      await writeFile(file, JSON.stringify(credential));
      const options = ["--oscore", file, "--state", state];
      const device = await startDevice(bench, {
        endpoint: ENDPOINT,
        port,
        lifetime: 6,
        options,
      });
      const [line] = await server.expect(new RegExp(`^registered ${ENDPOINT} .*`), 20_000);
      await step({ device, server, line });
    },
  })),
];
