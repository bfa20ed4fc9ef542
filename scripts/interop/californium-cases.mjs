// CoAP under OSCORE with Californium, both roles: what the plain cases do, and Appendix B.2 begun by either side. It drops the
// ID Context once a run is over. Its client hands a 4.01 that is response 1 to its caller, and goes on when that asks again.
import { equal, ok } from "node:assert/strict";
import { freePort } from "./bench.mjs";
import { pair } from "./coap-cases.mjs";
import { LARGE, USUAL } from "./coap-peers.mjs";
import { clientUnder, serve, serverUnder } from "./godwit-coap.mjs";
import {
  ID_CONTEXT,
  OURS,
  SALT,
  SECRET,
  THEIRS,
  clean,
  perBench,
  protectionUnder,
  verified,
} from "./oscore-kit.mjs";
import { startJava } from "./peers.mjs";

const SERVER = "OSCORE server of Godwit";
const CLIENT = "OSCORE client of Godwit";
const START = 20_000;

/** Its client, one process for a case. */
const clientOf = perBench((bench) => startClient(bench));

function startClient(bench, idContext = "-") {
  const words = [THEIRS, OURS, SECRET, SALT, idContext];
  const process = startJava(bench, "CaliforniumOscore", "client", ...words);
  const ask = async (order) => {
    const [, code, body] = await process.ask(order, /^answer (\S+) ?(\S*)$/, START);
    return { code, body: Buffer.from(body, "hex") };
  };
  return {
    get: (uri) => ask(`get ${uri}`),
    put: (uri, file) => ask(`put ${uri} ${file}`),
    async observe(uri, count) {
      process.say(`observe ${uri} ${count}`);
      const seen = [];
      while (seen.length < count) {
        const [, body] = await process.expect(/^notified 2\.05 (\S*)$/, START);
        seen.push(String(Buffer.from(body, "hex")));
      }
      await process.expect(/^answer observed/);
      return seen;
    },
    say: (order) => process.say(order),
  };
}

const californium = {
  client: {
    echoes: false,
    get(bench, uri, { block } = {}) {
      if (block) clientOf(bench).say(`blocks ${block}`);
      return clientOf(bench).get(uri);
    },
    async put(bench, uri, body, { block } = {}) {
      if (block) clientOf(bench).say(`blocks ${block}`);
      return clientOf(bench).put(uri, await bench.file(body));
    },
    observe: (bench, uri, count) => clientOf(bench).observe(uri, count),
  },
  server: {
    paths: USUAL,
    start: async (bench) => (await startServer(bench)).base,
  },
};

async function startServer(bench, { idContext = "-", port } = {}) {
  const at = port ?? (await freePort());
  const words = [at, THEIRS, OURS, SECRET, SALT, idContext];
  const process = startJava(bench, "CaliforniumOscore", "server", ...words);
  await process.expect(/^listening/, START);
  return { base: `coap://127.0.0.1:${at}`, port: at, process };
}

const fixed = protectionUnder();
const negotiated = protectionUnder({ derivation: "negotiated", initiates: true });
const passive = protectionUnder({ derivation: "negotiated" });
const given = protectionUnder({ derivation: "both", idContext: ID_CONTEXT });

/** The other end of the first two. */
const fixedThere = protectionUnder({ mirrored: true });
const negotiatedThere = protectionUnder({ mirrored: true, derivation: "negotiated" });

/** Body in blocks, and notifications, under whatever keys there are. */
async function much({ get, put, observe }) {
  equal((await put("/echo", LARGE)).code, "2.04");
  const { code, body } = await get("/echo");
  equal(code, "2.05");
  ok(body.equals(LARGE), `${body.length} bytes`);
  equal(new Set(await observe("/clock", 3)).size, 3);
}

const overTheirClient = (bench, client, base) => ({
  get: (path) => client.get(base + path),
  put: async (path, body) => client.put(base + path, await bench.file(body)),
  observe: (path, count) => client.observe(base + path, count),
});

function overOurs(bench, protectionOf, base) {
  const client = clientUnder(protectionOf);
  return {
    get: (path) => client.get(bench, base + path),
    put: (path, body) => client.put(bench, base + path, body),
    observe: (path, count) => client.observe(bench, base + path, count),
  };
}

const RENEWALS = [
  {
    group: SERVER,
    name: "a client that lost its context makes a new one (B.2), then body in blocks, observe, and the same once more",
    async run(bench) {
      const protection = passive(bench);
      const { seen } = protection;
      const { base } = await serve(bench, { protection, trusting: true });
      const client = startClient(bench);
      for (let round = 0; round < 2; round++) {
        client.say("lose");
        seen.length = 0;
        const { code, body } = await client.get(base + USUAL.hello);
        equal(`${code} ${String(body)}`, "2.05 hello");
        equal(seen.join(), "reply,new keys, begun by peer,request 0.01");
        await much(overTheirClient(bench, client, base));
        verified(seen);
      }
    },
  },
  {
    group: SERVER,
    name: "the server wants new keys: it begins B.2, and the client goes on when it asks again",
    async run(bench) {
      const protection = given(bench);
      const { seen } = protection;
      const { base, renew } = await serve(bench, { protection, trusting: true });
      const client = startClient(bench, ID_CONTEXT);
      equal((await client.get(base + USUAL.hello)).code, "2.05");
      renew();
      equal((await client.get(base + USUAL.hello)).code, "4.01");
      equal((await client.get(base + USUAL.hello)).code, "2.05");
      equal(seen.join(), "request 0.01,reply,new keys, begun by peer,request 0.01");
      await much(overTheirClient(bench, client, base));
      verified(seen);
    },
  },
  {
    group: CLIENT,
    name: "a client without a context makes one (B.2), then body in blocks, observe; a later one goes on with it",
    async run(bench) {
      const { seen } = negotiated(bench);
      const { base, process } = await startServer(bench);
      const ours = overOurs(bench, negotiated, base);
      const { code, body } = await ours.get(USUAL.hello);
      equal(`${code} ${String(body)}`, "2.05 hello");
      equal(seen.join(), "again 0.02,response 2.05,new keys, begun by us");
      equal(process.lines.filter((line) => line.startsWith("asked")).length, 1);
      await much(ours);
      equal(seen.filter((what) => what === "again 0.02").length, 1);
      verified(seen);
    },
  },
  {
    group: CLIENT,
    name: "the server lost its context: it begins B.2, within one request of ours",
    async run(bench) {
      const { seen } = given(bench);
      const { base, process } = await startServer(bench, { idContext: ID_CONTEXT });
      const ours = overOurs(bench, given, base);
      equal((await ours.get(USUAL.hello)).code, "2.05");
      await process.ask("lose", /^lost/);
      equal((await ours.get(USUAL.hello)).code, "2.05");
      equal(seen.join(), "response 2.05,again 0.02,response 2.05,new keys, begun by us");
      await much(ours);
      verified(seen);
    },
  },
  {
    group: CLIENT,
    name: "the server forgot the keys of B.2: new ones, within one request of ours",
    async run(bench) {
      const { seen } = negotiated(bench);
      const { base, process } = await startServer(bench);
      const ours = overOurs(bench, negotiated, base);
      equal((await ours.get(USUAL.hello)).code, "2.05");
      await process.ask("forget", /^lost/);
      seen.length = 0;
      equal((await ours.get(USUAL.hello)).code, "2.05");
      // Ours goes on from its store, which may be older than it knows: request 1 at once, and no other number of the old keys.
      equal(seen.filter((what) => what === "again 0.02").length, 2);
      equal(seen.slice(-2).join(), "response 2.05,new keys, begun by us");
      await much(ours);
    },
  },
  {
    group: SERVER,
    name: "the server was killed and restarted: a client that returns no Echo is led to new keys (B.2)",
    async run(bench) {
      const protection = passive(bench);
      const { seen } = protection;
      const before = await serve(bench, { protection, trusting: true });
      const client = startClient(bench);
      client.say("lose");
      equal((await client.get(before.base + USUAL.hello)).code, "2.05");
      await before.stop();
      seen.length = 0;
      const after = await serve(bench, { protection, trusting: true, port: before.port });
      const codes = [];
      for (let round = 0; round < 4; round++)
        codes.push((await client.get(after.base + USUAL.hello)).code);
      equal(codes.join(), "4.01,4.01,4.01,2.05"); // the Echo twice, response 1
      equal(seen.join(), "reply,reply,reply,new keys, begun by peer,request 0.01");
      await much(overTheirClient(bench, client, after.base));
    },
  },
  ...[fixed, negotiated].map((protectionOf) => ({
    group: "OSCORE client and server of Godwit",
    name: `through a proxy that cuts messages into outer blocks of 64 bytes (RFC 8613 4.1.3.4.2)${protectionOf === negotiated ? ", with B.2" : ""}`,
    async run(bench) {
      const mirrored = protectionOf === fixed ? fixedThere : negotiatedThere;
      const protection = mirrored(bench);
      const server = await serve(bench, { protection, trusting: true });
      const port = await freePort();
      const proxy = startJava(bench, "CaliforniumProxy", port, server.port, 64);
      await proxy.expect(/^listening/, START);
      const ours = overOurs(bench, protectionOf, `coap://127.0.0.1:${port}`);
      equal((await ours.put(USUAL.store, LARGE)).code, "2.04");
      const { code, body } = await ours.get(USUAL.store);
      equal(code, "2.05");
      ok(body.equals(LARGE), `${body.length} bytes`);
      await proxy.expect(/^passed 10\d\d /); // what the proxy had to cut
      await proxy.expect(/^passed \d+ 10\d\d/);
      verified([...protectionOf(bench).seen, ...protection.seen]);
    },
  })),
].map((one) => ({ ...one, peer: "californium", short: true }));

export const californiumCases = [
  ...clean(pair(SERVER, "californium", californium.client, serverUnder(fixed)), "request", fixed),
  ...clean(pair(CLIENT, "californium", clientUnder(fixed), californium.server), "response", fixed),
  ...RENEWALS,
];
