// OSCORE (RFC 8613): Leshan's device under Godwit's server, and Godwit's device under Leshan's server. This Leshan begins
// with the credential's own context, and its server throws at the first request of Appendix B.2: it wants no ID Context.
// peers/Rederivation.java switches on what Californium has of it.
import { equal, match, ok } from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "./bench.mjs";
import { startDevice } from "./godwit-device.mjs";
import { startServer } from "./godwit-lwm2m.mjs";
import { startJava } from "./peers.mjs";

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

/** Under which contexts: the credential's own, or such as Appendix B.2 makes; Leshan's part in words, Godwit's in a derivation. */
const CONTEXTS = {
  "": { mode: "oscore", server: "both", device: "fixed" },
  "B.2: ": { mode: "rederive", server: "negotiated", device: "negotiated" },
};

const credentialUnder = (derivation) => ({
  kind: "oscore",
  endpoint: ENDPOINT,
  senderId: Buffer.from(SERVER_ID, "hex"),
  recipientId: Buffer.from(DEVICE_ID, "hex"),
  masterSecret: Buffer.from(SECRET, "hex"),
  derivation,
});

function startTheirDevice(bench, mode, port) {
  const keys = [mode, DEVICE_ID, SERVER_ID, SECRET];
  return startJava(bench, "LeshanDevice", ENDPOINT, `coap://127.0.0.1:${port}`, 60, ...keys);
}

async function startTheirServer(bench, mode) {
  const port = await freePort();
  const keys = [mode, ENDPOINT, SERVER_ID, DEVICE_ID, SECRET];
  const server = startJava(bench, "LeshanServer", port, ...keys);
  await server.expect(/^listening/, 20_000);
  return { port, server };
}

/** Godwit's device, which may be started again with what it kept. */
async function ourDevice(bench, derivation, port) {
  const state = await bench.scratch();
  const file = join(state, "oscore.json");
  const credential = {
    senderId: DEVICE_ID,
    recipientId: SERVER_ID,
    masterSecret: SECRET,
    derivation,
  };
  await writeFile(file, JSON.stringify(credential));
  const options = ["--oscore", file, "--state", state];
  return (until) => startDevice(bench, { endpoint: ENDPOINT, port, lifetime: 6, options, until });
}

const RENEWALS = [
  {
    group: "OSCORE server of Godwit",
    name: "B.2: a device that is killed and started again makes new keys, and is the same device",
    async run(bench) {
      const { server, heard, port } = await startServer(bench, {
        credentials: [credentialUnder("negotiated")],
      });
      for (let round = 0; round < 2; round++) {
        const device = startTheirDevice(bench, "rederive", port);
        await device.expect(/^registered/, 20_000);
        await heard.next("registered");
        equal(await server.device(ENDPOINT).read(VALUE), 20.5);
        await device.kill();
      }
      equal(server.ledgerOf(ENDPOINT).drops.forged ?? 0, 0);
    },
  },
  {
    group: "OSCORE device of Godwit",
    name: "B.2: the device that is killed and started again goes on with the keys it kept",
    async run(bench) {
      const { port, server } = await startTheirServer(bench, "rederive");
      const start = await ourDevice(bench, "negotiated", port);
      const before = await start();
      const established = await bytesOut(before);
      await server.expect(/^updated/);
      await before.kill();
      const after = await start(/ updated$/);
      ok((await bytesOut(after)) < established / 2, "an Update, and nothing before it");
      // It returns no Echo, which the device asks for after a restart (B.1.2), and so makes the device renew the keys.
      for (let i = 0; i < 3; i++) await server.ask(`read ${ENDPOINT} ${VALUE}`, /^answer 401/);
      await after.expect(/ updated$/);
      await server.ask(`read ${ENDPOINT} ${VALUE}`, /^answer 205 -?\d/);
    },
  },
].map((one) => ({ ...one, peer: "leshan", short: true }));

/** What it tells once it has registered. */
async function bytesOut(device) {
  return Number((await device.expect(/session so far: (\d+) bytes out/))[1]);
}

export const oscoreCases = [
  ...Object.entries(CONTEXTS).flatMap(([title, { mode, server: derivation }]) =>
    Object.entries(SERVER_STEPS).map(([name, step]) => ({
      group: "OSCORE server of Godwit",
      peer: "leshan",
      name: `${title}a device ${name}`,
      short: true,
      async run(bench) {
        const credentials = [credentialUnder(derivation)];
        const { server, heard, port } = await startServer(bench, { credentials });
        const device = startTheirDevice(bench, mode, port);
        await device.expect(/^registered/, 20_000);
        await step({ device, heard, server, remote: server.device(ENDPOINT) });
      },
    })),
  ),
  ...Object.entries(CONTEXTS).flatMap(([title, { mode, device: derivation }]) =>
    Object.entries(DEVICE_STEPS).map(([name, step]) => ({
      group: "OSCORE device of Godwit",
      peer: "leshan",
      name: `${title}the device ${name}`,
      short: true,
      async run(bench) {
        const { port, server } = await startTheirServer(bench, mode);
        const device = await (await ourDevice(bench, derivation, port))();
        const [line] = await server.expect(new RegExp(`^registered ${ENDPOINT} .*`), 20_000);
        await step({ device, server, line });
      },
    })),
  ),
  ...RENEWALS,
];
