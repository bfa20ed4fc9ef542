// CoAP under OSCORE with libcoap, both roles: what the plain cases do, Appendix B.1.2, and B.2. libcoap sends the ID Context
// that B.2 made with every later request, raw, and as a server it wants the same.
import { equal, match, ok } from "node:assert/strict";
import { pair } from "./coap-cases.mjs";
import { LARGE, USUAL, libcoapClient, libcoapServer } from "./coap-peers.mjs";
import { clientUnder, serve, serverUnder } from "./godwit-coap.mjs";
import { startServe } from "./godwit-serve.mjs";
import {
  OURS,
  SALT,
  SECRET,
  THEIRS,
  clean,
  perBench,
  protectionUnder,
  verified,
} from "./oscore-kit.mjs";
import { libcoapOscore } from "./peers.mjs";

const PEER = "libcoap-oscore";
const SERVER = "OSCORE server of Godwit";
const CLIENT = "OSCORE client of Godwit";

/** Its words for a context: the configuration, and a file of sequence numbers that outlives its processes. */
const contextUnder = ({ echo, renews }) =>
  perBench(async (bench) => {
    const configuration = [
      `master_secret,hex,"${SECRET}"`,
      `master_salt,hex,"${SALT}"`,
      `sender_id,hex,"${THEIRS}"`,
      `recipient_id,hex,"${OURS}"`,
      `rfc8613_b_1_2,bool,${echo}`,
      `rfc8613_b_2,bool,${renews}`,
    ];
    const file = await bench.file(`${configuration.join("\n")}\n`);
    return ["-E", `${file},${await bench.file("")}`];
  });

function libcoapUnder(context) {
  return {
    client: libcoapClient(libcoapOscore("coap-client"), context),
    server: libcoapServer(libcoapOscore("coap-server"), context),
  };
}

const fixed = protectionUnder();
const negotiated = protectionUnder({ derivation: "negotiated", initiates: true });
const passive = protectionUnder({ derivation: "negotiated" });
const plain = libcoapUnder(contextUnder({ echo: false, renews: false }));
const echoing = libcoapUnder(contextUnder({ echo: true, renews: false }));
const renewingContext = contextUnder({ echo: false, renews: true });
const renewing = libcoapUnder(renewingContext);
const both = libcoapUnder(contextUnder({ echo: true, renews: true }));

/** Its server wants one block size for the whole of an answer: 4.00 "Changing blocksize during request invalid". */
const EARLY = { early: true };

const titled = (title, cases) => cases.map((one) => ({ ...one, name: `${title}: ${one.name}` }));

const RESTARTS = [
  {
    group: SERVER,
    name: "GET after the server restarted: it asks for an Echo, once (B.1.2)",
    async run(bench) {
      const protection = fixed(bench);
      const { seen } = protection;
      const before = await serve(bench, { protection });
      await plain.client.get(bench, before.base + USUAL.hello);
      await before.stop();
      seen.length = 0;
      const after = await serve(bench, { protection, port: before.port });
      for (let round = 0; round < 2; round++) {
        const { body } = await plain.client.get(bench, after.base + USUAL.hello);
        equal(String(body), "hello");
      }
      equal(seen.join(), "reply,request 0.01,request 0.01");
    },
  },
  {
    group: SERVER,
    name: "B.2: request 1 is not obeyed, and the blocks that follow all carry the new ID Context",
    async run(bench) {
      const protection = passive(bench);
      const { seen } = protection;
      const { base } = await serve(bench, { protection, trusting: true });
      const { client } = renewing;
      await client.put(bench, base + USUAL.store, LARGE, { block: 512 });
      equal(seen.slice(0, 3).join(), "reply,new keys, begun by peer,request 0.03");
      const { body } = await client.get(bench, base + USUAL.store, { block: 512 });
      ok(body.equals(LARGE), `${body.length} bytes`);
      equal(seen.filter((what) => what.startsWith("new keys")).length, 2, "one run per process");
      verified(seen);
    },
  },
  {
    group: CLIENT,
    name: "GET after the server was killed and restarted: its Echo is answered (B.1.2)",
    async run(bench) {
      const { seen } = fixed(bench);
      const client = clientUnder(fixed);
      const { server } = echoing;
      const before = await server.serve(bench);
      equal((await client.get(bench, before.base + server.paths.hello)).code, "2.05");
      await before.process.kill();
      seen.length = 0;
      const after = await server.serve(bench, before.port);
      equal((await client.get(bench, after.base + server.paths.hello)).code, "2.05");
      equal(seen.join(), "response 4.01,response 2.05");
    },
  },
  {
    group: CLIENT,
    name: "B.2 and B.1.2 together: new keys, an Echo, and what it needs sent with every later request",
    async run(bench) {
      const { seen } = negotiated(bench);
      const client = clientUnder(negotiated);
      const { base } = await both.server.serve(bench);
      const { paths } = both.server;
      equal((await client.get(bench, base + paths.hello)).code, "2.05");
      // Request 2 is answered with an Echo; what returns it has no ID Context at first, and then the raw one.
      const first = ["again 0.02", "response 4.01", "new keys, begun by us", "again 0.02"];
      equal(seen.join(), [...first, "unprotectedResponse", "response 2.05"].join());
      seen.length = 0;
      equal((await client.get(bench, base + paths.hello)).code, "2.05");
      equal(seen.join(), "response 2.05");
    },
  },
  {
    group: "godwit serve",
    name: "by hand, OSCORE with B.2: Register, Update and De-register, each with new keys",
    async run(bench) {
      const credential = {
        kind: "oscore",
        endpoint: "by-hand",
        senderId: OURS,
        recipientId: THEIRS,
        masterSecret: SECRET,
        masterSalt: SALT,
        derivation: "negotiated",
      };
      const { port, api } = await startServe(bench, { credentials: [credential] });
      const words = await renewingContext(bench);
      const type = async (method, path, ...more) => {
        const uri = `coap://127.0.0.1:${port}${path}`;
        const args = [...words, "-v", "6", "-B", "5", "-m", method, ...more, uri];
        const { text, complaints } = await bench.run(libcoapOscore("coap-client"), args);
        return text + complaints;
      };
      const list = ["-t", "40", "-e", "</1/0>,</3/0>"];
      const registered = await type("post", "/rd?ep=by-hand&lt=60&lwm2m=1.1&b=U", ...list);
      const [, place] = /c:2\.01 .*Location-Path:rd, Location-Path:([\w-]+)/.exec(registered) ?? [];
      ok(place, registered);
      const { body: device } = await api("GET", "/devices/by-hand");
      equal(device.lifetime, 60);
      match(await type("post", `/rd/${place}?lt=120`), /c:2\.04 /);
      const { body: updated } = await api("GET", "/devices/by-hand");
      equal(updated.lifetime, 120);
      equal(updated.registeredAt, device.registeredAt);
      match(await type("delete", `/rd/${place}`), /c:2\.02 /);
      equal((await api("GET", "/devices/by-hand")).status, 404);
    },
  },
].map((one) => ({ ...one, peer: PEER }));

export const libcoapOscoreCases = [
  ...clean(pair(SERVER, PEER, plain.client, serverUnder(fixed)), "request", fixed),
  ...clean(pair(CLIENT, PEER, clientUnder(fixed, EARLY), plain.server), "response", fixed),
  ...clean(
    titled("B.2", pair(SERVER, PEER, renewing.client, serverUnder(passive))),
    "request",
    passive,
  ),
  ...titled("B.2", pair(CLIENT, PEER, clientUnder(negotiated, EARLY), renewing.server)),
  ...RESTARTS,
];
