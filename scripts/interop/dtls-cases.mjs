// LwM2M over DTLS with a pre-shared key: strangers under Godwit's server, Godwit's device under theirs, and sessions that
// live through a NAT that forgets them.
import { deepEqual, equal, match } from "node:assert/strict";
import { freePort } from "./bench.mjs";
import { startDevice } from "./godwit-device.mjs";
import { startServer } from "./godwit-lwm2m.mjs";
import { startServe } from "./godwit-serve.mjs";
import { startJava } from "./peers.mjs";
import { startRelay } from "./rebind-relay.mjs";

const ENDPOINT = "urn:dev:ops:32473-interop-4";
const IDENTITY = "interop-4";
const KEY = "00112233445566778899aabbccddeeff";
const OPTIONS = ["--psk-identity", IDENTITY, "--psk-key", KEY];
const VALUE = "/3303/0/5700";
/** Bytes of Leshan's own connection ids. */
const CID_LENGTH = 6;

const leshanDevices = [
  { how: "PSK", cid: [] },
  { how: "PSK and Connection ID", cid: [CID_LENGTH] },
].map(({ how, cid }) => ({
  group: "LwM2M server of Godwit",
  peer: "leshan",
  name: `DTLS with ${how}: a device registers, updates, is read, written, executed, observed, and de-registers`,
  short: true,
  async run(bench) {
    const { server, heard, securePort } = await secureServer(bench);
    const device = leshanDevice(bench, securePort, cid);
    await device.expect(/^registered/, 20_000);
    const { device: seen } = await heard.next("registered");
    deepEqual(seen.identity, { kind: "psk", identity: IDENTITY });
    const remote = server.device(ENDPOINT);
    equal(await remote.read(VALUE), 20.5);
    await remote.write("/3/0/14", "+02:00");
    equal((await device.expect(/^written \/3\/0\/14 (.*)$/))[1], "+02:00");
    await remote.execute("/3/0/4", "0='a'");
    await device.expect(/^executed \/3\/0\/4 0='a'$/);
    const readings = remote.observe(VALUE)[Symbol.asyncIterator]();
    equal((await readings.next()).value.value, 20.5);
    device.say("set 5700 25");
    for (let value = 0; value !== 25;) ({ value } = (await readings.next()).value);
    await readings.return();
    device.say("update");
    await device.expect(/^updated/);
    await heard.next("updated");
    deepEqual(server.ledgerOf(ENDPOINT).handshakes, { full: 1, resumed: 0 });
    device.say("stop");
    await device.expect(/^deregistered/);
    deepEqual(await heard.next("deregistered"), { endpoint: ENDPOINT, why: "device" });
  },
}));

const leshanServers = [
  { how: "PSK", cid: [], options: [] },
  { how: "PSK and Connection ID", cid: [CID_LENGTH], options: ["--cid"] },
].map(({ how, cid, options }) => ({
  group: "LwM2M device of Godwit",
  peer: "leshan",
  name: `DTLS with ${how}: the device registers, updates, is read, written, executed, observed, and de-registers`,
  short: true,
  async run(bench) {
    const { server, port } = await leshanServer(bench, cid);
    const device = await startDevice(bench, {
      ...{ endpoint: ENDPOINT, port, scheme: "coaps", lifetime: 8 },
      options: [...OPTIONS, ...options],
    });
    await server.expect(/^registered /);
    match(device.lines.join("\n"), /secured by a full handshake/);
    await server.ask(`read ${ENDPOINT} ${VALUE}`, /^answer 205 -?\d/);
    await server.ask(`write ${ENDPOINT} TEXT /3/0/14 +02:00`, /^answer 204/);
    await server.ask(`read ${ENDPOINT} /3/0/14`, /^answer 205 \+02:00$/);
    await server.ask(`execute ${ENDPOINT} /3303/0/5605`, /^answer 204/);
    await device.expect(/ extremes reset$/);
    await server.ask(`observe ${ENDPOINT} ${VALUE}`, /^answer 205/);
    await server.expect(/^notified \S+ /, 20_000);
    await server.expect(/^updated /);
    equal(handshakes(device).length, 1);
    void device.end("SIGTERM");
    await server.expect(/^unregistered/);
    await device.expect(/de-registered/);
  },
}));

/** What a NAT that forgets costs: nothing. `first` and `again` each make the device send an Update, and see it answered. */
async function rebindsForNothing(relay, first, again) {
  await first();
  const { up, down } = relay.counts;
  relay.rebind();
  await again();
  deepEqual(
    { up: relay.counts.up - up, down: relay.counts.down - down, lost: relay.counts.lost },
    { up: 1, down: 1, lost: 0 },
  );
}

const rebinds = [
  {
    group: "LwM2M server of Godwit",
    peer: "leshan",
    name: "DTLS with Connection ID through a NAT that rebinds: the next Update is one datagram up and one down",
    short: true,
    async run(bench) {
      const { server, heard, securePort } = await secureServer(bench);
      const relay = await relayed(bench, securePort);
      const device = leshanDevice(bench, relay.port, [CID_LENGTH]);
      await device.expect(/^registered/, 20_000);
      const update = async () => {
        device.say("update");
        await device.expect(/^updated/);
      };
      await rebindsForNothing(relay, update, update);
      await heard.next("updated");
      equal((await heard.next("updated")).moved, true);
      equal(await server.device(ENDPOINT).read(VALUE), 20.5); // it is where the server thinks it is
      const { handshakes, addressChanges } = server.ledgerOf(ENDPOINT);
      deepEqual({ handshakes, addressChanges }, { handshakes: FULL, addressChanges: 1 });
    },
  },
  {
    group: "LwM2M device of Godwit",
    peer: "leshan",
    name: "DTLS with Connection ID through a NAT that rebinds: the next Update is one datagram up and one down",
    short: true,
    async run(bench) {
      const { server, port } = await leshanServer(bench, [CID_LENGTH]);
      const relay = await relayed(bench, port);
      const device = await startDevice(bench, {
        ...{ endpoint: ENDPOINT, port: relay.port, scheme: "coaps", lifetime: 6 },
        options: [...OPTIONS, "--cid"],
      });
      const update = () => device.expect(/ updated$/, 20_000);
      await rebindsForNothing(relay, update, update);
      await server.ask(`read ${ENDPOINT} ${VALUE}`, /^answer 205 -?\d/);
      equal(handshakes(device).length, 1);
    },
  },
  {
    group: "LwM2M server of Godwit",
    peer: "godwit",
    name: "DTLS with Connection ID through a NAT that rebinds: the next Update is one datagram up and one down",
    short: true,
    async run(bench) {
      const { relay, ledger, api, start } = await behindRelay(bench);
      const device = await start("--cid");
      const update = () => device.expect(/ updated$/, 20_000);
      await rebindsForNothing(relay, update, update);
      const { handshakes: made, addressChanges } = await ledger();
      deepEqual({ handshakes: made, addressChanges }, { handshakes: FULL, addressChanges: 1 });
      equal(handshakes(device).length, 1);
      const read = await api("GET", `/devices/${ENDPOINT}${VALUE}`);
      equal(read.body.state, "done");
    },
  },
  {
    group: "LwM2M server of Godwit",
    peer: "godwit",
    name: "DTLS without Connection ID through a NAT that rebinds: after a time-out the session is resumed",
    short: false, // half a minute of time-outs
    async run(bench) {
      const { relay, ledger, start } = await behindRelay(bench);
      const device = await start();
      await device.expect(/ updated$/, 20_000);
      relay.rebind();
      await device.expect(/ secured by resuming the session$/, 50_000);
      await device.expect(/ updated$/, 20_000);
      deepEqual((await ledger()).handshakes.resumed, 1);
      equal(handshakes(device).length, 2);
    },
  },
];

export const dtlsCases = [...leshanDevices, ...leshanServers, ...rebinds];

const FULL = { full: 1, resumed: 0 };
const CREDENTIAL = { kind: "psk", endpoint: ENDPOINT, identity: IDENTITY };

const handshakes = ({ lines }) => lines.filter((line) => / secured by /.test(line));

function secureServer(bench) {
  const key = Uint8Array.from(Buffer.from(KEY, "hex"));
  return startServer(bench, { credentials: [{ ...CREDENTIAL, key }] });
}

function leshanDevice(bench, port, cid) {
  const uri = `coaps://127.0.0.1:${port}`;
  return startJava(bench, "LeshanDevice", ENDPOINT, uri, 60, "psk", IDENTITY, KEY, ...cid);
}

async function leshanServer(bench, cid) {
  const [plain, port] = [await freePort(), await freePort()];
  const words = ["psk", ENDPOINT, IDENTITY, KEY, ...cid];
  const server = startJava(bench, "LeshanServer", plain, port, ...words);
  await server.expect(/^listening/, 20_000);
  return { server, port };
}

/** `godwit serve`, a relay before it, and `start`, which starts `godwit device` behind that. */
async function behindRelay(bench) {
  const { securePort, api } = await startServe(bench, {
    credentials: [{ ...CREDENTIAL, key: KEY }],
  });
  const relay = await relayed(bench, securePort);
  const where = { endpoint: ENDPOINT, port: relay.port, scheme: "coaps", lifetime: 6 };
  const start = (...more) => startDevice(bench, { ...where, options: [...OPTIONS, ...more] });
  const ledger = async () => (await api("GET", `/devices/${ENDPOINT}`)).body.ledger;
  return { relay, api, start, ledger };
}

async function relayed(bench, port) {
  const relay = await startRelay({ server: { host: "127.0.0.1", port } });
  bench.after(() => relay.close());
  return relay;
}
