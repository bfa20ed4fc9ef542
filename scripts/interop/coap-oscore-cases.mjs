// CoAP under OSCORE (RFC 8613) with aiocoap, both roles: what the plain cases do, and what a restart of the server asks for.
import { equal, match, ok } from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pair } from "./coap-cases.mjs";
import { LARGE, USUAL, aiocoapUnder } from "./coap-peers.mjs";
import { clientUnder, serve, serverUnder } from "./godwit-coap.mjs";
import { startServe } from "./godwit-serve.mjs";
import { OURS, SALT, SECRET, THEIRS, clean, perBench, protectionUnder } from "./oscore-kit.mjs";

const protectionOf = protectionUnder();
const credentialsOf = perBench(async (bench) => {
  const directory = await bench.scratch();
  const basedir = join(directory, "context");
  await mkdir(basedir);
  const write = (path, json) => writeFile(join(directory, path), JSON.stringify(json));
  await write("context/secret.json", { secret_hex: SECRET, salt_hex: SALT });
  await write("context/settings.json", {
    algorithm: "AES-CCM-16-64-128",
    "sender-id_hex": THEIRS,
    "recipient-id_hex": OURS,
  });
  await write("credentials.json", { "coap://127.0.0.1:*": { oscore: { basedir } } });
  return join(directory, "credentials.json");
});

const aiocoap = aiocoapUnder(credentialsOf);
const godwit = { client: clientUnder(protectionOf), server: serverUnder(protectionOf) };

const SERVER = "OSCORE server of Godwit";
const CLIENT = "OSCORE client of Godwit";

const RESTARTS = [
  {
    group: SERVER,
    name: "GET after the server restarted: it asks for an Echo, once (B.1.2)",
    async run(bench) {
      const protection = protectionOf(bench);
      const { seen } = protection;
      const before = await serve(bench, { protection });
      equal((await aiocoap.client.get(bench, before.base + USUAL.hello)).code, "2.05");
      equal(seen.join(), "request 0.01");
      await before.stop();
      const after = await serve(bench, { protection, port: before.port });
      const challenged = ["request 0.01", "reply", "request 0.01"];
      for (const expected of [challenged, [...challenged, "request 0.01"]]) {
        const { code, body } = await aiocoap.client.get(bench, after.base + USUAL.hello);
        equal(`${code} ${String(body)}`, "2.05 hello");
        equal(seen.join(), expected.join());
      }
    },
  },
  {
    group: SERVER,
    name: "GET block-wise from an address that nothing has proven: an Echo first (RFC 9175 2.4)",
    async run(bench) {
      const protection = protectionOf(bench);
      const { base } = await serve(bench, { protection });
      const { code, body } = await aiocoap.client.get(bench, base + USUAL.large);
      equal(code, "2.05");
      const block = "request 0.01";
      equal(protection.seen.join(), [block, `${block} with Echo`, block, block].join());
      ok(body.equals(LARGE), `${body.length} bytes`);
    },
  },
  {
    group: CLIENT,
    name: "GET after the server was killed and restarted: its Echo is answered (B.1.2)",
    async run(bench) {
      const { seen } = protectionOf(bench);
      const before = await aiocoap.server.serve(bench);
      equal((await godwit.client.get(bench, before.base + USUAL.hello)).code, "2.05");
      equal(seen.join(), "response 2.05");
      await before.process.kill();
      const after = await aiocoap.server.serve(bench, before.port);
      const { code, body } = await godwit.client.get(bench, after.base + USUAL.hello);
      equal(`${code} ${String(body)}`, "2.05 hello");
      equal(seen.join(), "response 2.05,response 4.01,response 2.05");
    },
  },
  {
    group: SERVER,
    name: "PUT in inner blocks, each of them in outer blocks of 64 bytes (RFC 8613 4.1.3.4.2)",
    async run(bench) {
      const protection = protectionOf(bench);
      const { base } = await serve(bench, { protection });
      const outer = { block: 64, outer: true };
      equal((await aiocoap.client.put(bench, base + USUAL.store, LARGE, outer)).code, "2.04");
      equal(protection.seen.join(), "request 0.03,request 0.03,request 0.03"); // inner blocks, of 1024 bytes each
      const { body } = await aiocoap.client.get(bench, base + USUAL.store);
      ok(body.equals(LARGE), `${body.length} bytes`);
    },
  },
  {
    group: "godwit serve",
    name: "by hand, OSCORE: Register, Update and De-register",
    async run(bench) {
      const credential = {
        kind: "oscore",
        endpoint: "by-hand",
        senderId: OURS,
        recipientId: THEIRS,
        masterSecret: SECRET,
        masterSalt: SALT,
        derivation: "fixed",
      };
      const { port, api } = await startServe(bench, { credentials: [credential] });
      const base = `coap://127.0.0.1:${port}`;
      const { client } = aiocoap;
      match(
        String((await client.get(bench, `${base}/.well-known/core`)).body),
        /<\/rd>;rt="core\.rd"/,
      );
      const registered = await client.post(
        bench,
        `${base}/rd?ep=by-hand&lt=60&lwm2m=1.1&b=U`,
        "</1/0>,</3/0>",
      );
      const [, place] = /^2\.01 (\/rd\/[\w-]+)$/.exec(registered.code) ?? [];
      ok(place, registered.code);
      const { body: device } = await api("GET", "/devices/by-hand");
      equal(device.lifetime, 60);
      equal((await client.post(bench, `${base}${place}?lt=120`, "")).code, "2.04");
      const { body: updated } = await api("GET", "/devices/by-hand");
      equal(updated.lifetime, 120);
      equal(updated.registeredAt, device.registeredAt);
      equal((await client.delete(bench, base + place)).code, "2.02");
      equal((await api("GET", "/devices/by-hand")).status, 404);
    },
  },
].map((one) => ({ ...one, peer: "aiocoap", short: true }));

export const coapOscoreCases = [
  ...clean(pair(SERVER, "aiocoap", aiocoap.client, godwit.server), "request", protectionOf),
  ...clean(pair(CLIENT, "aiocoap", godwit.client, aiocoap.server), "response", protectionOf),
  ...RESTARTS,
];
