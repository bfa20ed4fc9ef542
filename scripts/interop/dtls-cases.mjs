// LwM2M over DTLS: strangers under Godwit's server, Godwit's device under theirs, and sessions that
// live through a NAT that forgets them.
import { deepEqual, equal, match } from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { readCertificates, signingKey } from "@godwit/dtls";
import { freePort } from "./bench.mjs";
import { startDevice } from "./godwit-device.mjs";
import { startServer } from "./godwit-lwm2m.mjs";
import { startServe } from "./godwit-serve.mjs";
import { startJava } from "./peers.mjs";
import { DEVICE_NAME, hexOf, pki } from "./pki.mjs";
import { startRelay } from "./rebind-relay.mjs";

const ENDPOINT = "urn:dev:ops:32473-interop-4";
const IDENTITY = "interop-4";
const KEY = "00112233445566778899aabbccddeeff";
const OPTIONS = ["--psk-identity", IDENTITY, "--psk-key", KEY];
const VALUE = "/3303/0/5700";
/** Bytes of Leshan's own connection ids. */
const CID_LENGTH = 6;

const PSK = {
  endpoint: ENDPOINT,
  identity: { kind: "psk", identity: IDENTITY },
  credential: async () => ({
    kind: "psk",
    endpoint: ENDPOINT,
    identity: IDENTITY,
    key: bytesOf(KEY),
  }),
};

/** Ways of a device to prove itself; the words that each side's program takes. */
const WAYS = {
  psk: {
    ...PSK,
    how: "PSK",
    device: async () => ["psk", IDENTITY, KEY],
    server: async () => ["psk", ENDPOINT, IDENTITY, KEY],
    options: () => OPTIONS,
  },
  ecdhePsk: {
    ...PSK,
    how: "ECDHE_PSK",
    device: async () => ["ecdhe-psk", IDENTITY, KEY],
  },
  rpk: {
    how: "raw public keys",
    endpoint: ENDPOINT,
    async credential(at) {
      return { kind: "rpk", endpoint: ENDPOINT, spki: bytesOf(await hexOf(at, "pub", "device")) };
    },
    async device(at) {
      const own = [await hexOf(at, "pub", "device"), await hexOf(at, "key", "device")];
      return ["rpk", ...own, await hexOf(at, "pub", "server")];
    },
    async server(at) {
      const own = [await hexOf(at, "pub", "server"), await hexOf(at, "key", "server")];
      return ["rpk", ENDPOINT, await hexOf(at, "pub", "device"), ...own];
    },
    options: (at) => ["--rpk-key", at("device.key"), "--server-public-key", at("server.pub")],
  },
  x509: {
    how: "X.509",
    endpoint: DEVICE_NAME,
    identity: { kind: "x509", subject: DEVICE_NAME },
    credential: async () => ({ kind: "x509", endpoint: DEVICE_NAME, name: DEVICE_NAME }),
    async device(at) {
      const own = [await hexOf(at, "pem", "device"), await hexOf(at, "key", "device")];
      return ["x509", ...own, await hexOf(at, "pem", "server")];
    },
    async server(at) {
      const own = [await hexOf(at, "key", "server"), at("server-chain.pem")];
      return ["x509", DEVICE_NAME, ...own, at("root.pem")];
    },
    options: (at) => [
      ...["--cert", at("device-chain.pem"), "--key", at("device.key"), "--ca", at("root.pem")],
    ],
  },
};

const named = ({ how }, cid) => (cid.length > 0 ? `${how} and Connection ID` : how);

const leshanDevices = [
  { way: WAYS.psk, cid: [] },
  { way: WAYS.psk, cid: [CID_LENGTH] },
  { way: WAYS.ecdhePsk, cid: [] },
  { way: WAYS.rpk, cid: [] },
  { way: WAYS.rpk, cid: [CID_LENGTH] },
  { way: WAYS.x509, cid: [] },
  { way: WAYS.x509, cid: [CID_LENGTH] },
].map(({ way, cid }) => ({
  group: "LwM2M server of Godwit",
  peer: "leshan",
  name: `DTLS with ${named(way, cid)}: a device registers, updates, is read, written, executed, observed, and de-registers`,
  short: true,
  async run(bench) {
    const { server, heard, securePort } = await secureServer(bench, way);
    const { endpoint } = way;
    const device = await leshanDevice(bench, securePort, cid, way);
    await device.expect(/^registered/, 20_000);
    const { device: seen } = await heard.next("registered");
    const spki = way === WAYS.rpk && (await hexOf(await pki(), "pub", "device"));
    deepEqual(seen.identity, spki ? { kind: "rpk", spki } : way.identity);
    const remote = server.device(endpoint);
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
    deepEqual(server.ledgerOf(endpoint).handshakes, { full: 1, resumed: 0 });
    device.say("stop");
    await device.expect(/^deregistered/);
    deepEqual(await heard.next("deregistered"), { endpoint, why: "device" });
  },
}));

const leshanServers = [
  { way: WAYS.psk, cid: [], options: [] },
  { way: WAYS.psk, cid: [CID_LENGTH], options: ["--cid"] },
  { way: WAYS.rpk, cid: [], options: [] },
  { way: WAYS.rpk, cid: [CID_LENGTH], options: ["--cid"] },
  { way: WAYS.x509, cid: [], options: [] },
  { way: WAYS.x509, cid: [CID_LENGTH], options: ["--cid"] },
].map(({ way, cid, options }) => ({
  group: "LwM2M device of Godwit",
  peer: "leshan",
  name: `DTLS with ${named(way, cid)}: the device registers, updates, is read, written, executed, observed, and de-registers`,
  short: cid.length > 0 && way !== WAYS.x509, // ten seconds each
  async run(bench) {
    const { server, port } = await leshanServer(bench, cid, way);
    const { endpoint } = way;
    const device = await startDevice(bench, {
      ...{ endpoint, port, scheme: "coaps", lifetime: 8 },
      options: [...way.options(await pki()), ...options],
    });
    await server.expect(/^registered /);
    match(device.lines.join("\n"), /secured by a full handshake/);
    await server.ask(`read ${endpoint} ${VALUE}`, /^answer 205 -?\d/);
    await server.ask(`write ${endpoint} TEXT /3/0/14 +02:00`, /^answer 204/);
    await server.ask(`read ${endpoint} /3/0/14`, /^answer 205 \+02:00$/);
    await server.ask(`execute ${endpoint} /3303/0/5605`, /^answer 204/);
    await device.expect(/ extremes reset$/);
    await server.ask(`observe ${endpoint} ${VALUE}`, /^answer 205/);
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
      const device = await leshanDevice(bench, relay.port, [CID_LENGTH]);
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

const bytesOf = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));

async function secureServer(bench, way = WAYS.psk) {
  const at = await pki();
  const own = signingKey(await readFile(at("server.key"), "utf8"));
  const [chain, anchors] = await Promise.all(
    // Leshan's device sends its own certificate and no issuer's.
    ["server-chain.pem", "roots.pem"].map((name) =>
      readFile(at(name), "utf8").then(readCertificates),
    ),
  );
  return startServer(bench, {
    credentials: [await way.credential(at)],
    dtls: {
      certificates: [
        { kind: "x509", key: own, chain },
        { kind: "rpk", key: own },
      ],
      anchors,
    },
  });
}

async function leshanDevice(bench, port, cid, way = WAYS.psk) {
  const uri = `coaps://127.0.0.1:${port}`;
  const words = await way.device(await pki());
  return startJava(bench, "LeshanDevice", way.endpoint, uri, 60, ...words, ...cid);
}

async function leshanServer(bench, cid, way = WAYS.psk) {
  const [plain, port] = [await freePort(), await freePort()];
  const words = await way.server(await pki());
  const server = startJava(bench, "LeshanServer", plain, port, ...words, ...cid);
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
