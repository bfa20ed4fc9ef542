// `godwit serve` is killed and started again under devices that do nothing with an Echo, and their NAT may have moved them
// meanwhile: they must be served again within a minute of their first datagram, after three refusals at most.
import { equal, ok } from "node:assert/strict";
import { ACK, CON, Code, decodeMessage, encodeMessage, request } from "@godwit/coap";
import { startClient } from "./godwit-dtls.mjs";
import { startServe } from "./godwit-serve.mjs";
import { startJava } from "./peers.mjs";
import { startRelay } from "./rebind-relay.mjs";

const ENDPOINT = "urn:dev:ops:32473-interop-7";
const VALUE = "/3303/0/5700";
const KEY = "00112233445566778899aabbccddeeff";
const MINUTE = 60_000;

/** Leshan's device by its security: the scheme, its words, the server's credential. */
const DEVICES = {
  "DTLS with Connection ID": {
    scheme: "coaps",
    words: ["psk", "interop-7", KEY, 6],
    credential: { kind: "psk", endpoint: ENDPOINT, identity: "interop-7", key: KEY },
  },
  "OSCORE, fixed": oscore("oscore", "fixed"),
  "OSCORE, both": oscore("oscore", "both"),
  "OSCORE, B.2": oscore("rederive", "negotiated"),
};

function oscore(mode, derivation) {
  const [senderId, recipientId] = ["01", "02"];
  return {
    scheme: "coap",
    words: [mode, recipientId, senderId, KEY],
    credential: {
      ...{ kind: "oscore", endpoint: ENDPOINT, senderId, recipientId },
      ...{ masterSecret: KEY, derivation },
    },
  };
}

const SHORT = new Set(["DTLS with Connection ID", "OSCORE, fixed"]);

/** The first words of the device after the server's death. */
const WORDS = {
  "an Update": (device) => device.say("update"),
  "a reading": (device) => device.say(`send ${VALUE}`),
};

async function run(bench, { scheme, words, credential }, moves, first) {
  const credentials = [credential];
  const before = await startServe(bench, { credentials });
  const at = scheme === "coap" ? before.port : before.securePort;
  const relay = await startRelay({ server: { host: "127.0.0.1", port: at } });
  bench.after(() => relay.close());
  const uri = `${scheme}://127.0.0.1:${relay.port}`;
  const device = startJava(bench, "LeshanDevice", ENDPOINT, uri, 3_600, ...words);
  await device.expect(/^registered/, 20_000);
  for (let i = 0; i < 3; i++) await device.ask("update", /^updated/);

  let serving = before;
  for (let life = 0; life < 2; life++) {
    await new Promise((done) => setTimeout(done, 4_000)); // it is quiet for a while
    await serving.server.kill();
    serving = await startServe(bench, {
      credentials,
      data: before.data,
      port: before.port,
      options: ["--coaps", `127.0.0.1:${before.securePort}`],
    });
    if (moves) relay.rebind();
    const heard = device.lines.length;
    const began = Date.now();
    first(device);
    while (!(await served(serving))) {
      ok(
        Date.now() - began < MINUTE,
        `not served after a minute:\n${device.lines.slice(heard).join("\n")}`,
      );
      await new Promise((done) => setTimeout(done, 500));
    }
    const failures = device.lines.slice(heard).filter((line) => /^failed|^sent 401/.test(line));
    ok(failures.length <= 3, failures.join("\n"));
    // And from then on.
    const { length } = device.lines;
    device.say("update");
    await device.expect(/^updated|^registered/);
    ok(device.lines.slice(length).every((line) => !line.startsWith("failed")));
  }
}

/** Whether the device does what it is told, and what it says is taken. */
async function served({ api }) {
  const { status } = await api("GET", `/devices/${ENDPOINT}${VALUE}?wait=2`);
  return status === 200;
}

/**
 * A small device of ours without Echo, which answers requests or does not: what Leshan does not do. Its words over DTLS with
 * Connection ID; `told` gives the code of the answer.
 */
async function echoless(bench, port, answers) {
  const key = Uint8Array.from(Buffer.from(KEY, "hex"));
  const client = await startClient(bench, { port, identity: "interop-7", key, cid: true });
  await client.connect("full");
  let mid = 0;
  let handshakes = 1;
  const told = async (path, query = [], more = {}) => {
    mid += 1;
    const token = Uint8Array.of(mid, 1, 2, 3);
    const bytes = encodeMessage({
      type: CON,
      mid,
      token,
      ...request(Code.POST, { path, query, ...more }),
    });
    for (let tries = 0; tries < 5; tries++) {
      client.sendBytes(bytes);
      const until = Date.now() + 2_000 * 2 ** tries;
      for (;;) {
        const heard = await client.hear(until - Date.now());
        if (heard === undefined) break;
        if (heard === "closed") {
          handshakes += 1;
          await client.connect("full");
          break; // and says it again
        }
        const message = decodeMessage(heard);
        if (message.code !== 0 && message.code < 32 && answers) {
          client.sendBytes(
            encodeMessage({ ...message, type: ACK, code: Code.NotFound, options: [] }),
          );
        } else if (message.type === ACK && message.mid === mid) return message;
      }
    }
    throw new Error("no answer");
  };
  return { told, handshakes: () => handshakes };
}

const small = [true, false].flatMap((answers) =>
  [false, true].map((moves) => ({
    group: "godwit serve",
    peer: "godwit",
    name: `DTLS with Connection ID: killed and started again under a small device without Echo that answers ${answers ? "every request" : "nothing"}, ${moves ? "the device's NAT has moved it" : "the device where it was"}: served within a minute`,
    short: moves,
    async run(bench) {
      const credentials = [DEVICES["DTLS with Connection ID"].credential];
      const before = await startServe(bench, { credentials });
      const server = { host: "127.0.0.1", port: before.securePort };
      const relay = await startRelay({ server });
      bench.after(() => relay.close());
      const device = await echoless(bench, relay.port, answers);
      const register = () =>
        device.told("/rd", [`ep=${ENDPOINT}`, "lt=3600", "lwm2m=1.1", "b=U"], {
          payload: "</3/0>",
        });
      equal((await register()).code, Code.Created);
      await before.server.kill();
      await startServe(bench, {
        credentials,
        data: before.data,
        options: ["--coaps", `127.0.0.1:${before.securePort}`],
      });
      if (moves) relay.rebind();
      const began = Date.now();
      let refusals = 0;
      while ((await register()).code !== Code.Created) refusals += 1;
      ok(Date.now() - began < MINUTE && refusals <= 3, `${refusals} refusals`);
      equal(device.handshakes(), answers ? 1 : 2);
    },
  })),
);

export const killCases = [
  ...small,
  ...Object.entries(DEVICES).flatMap(([how, device]) =>
    [false, true].flatMap((moves) =>
      Object.entries(WORDS).map(([what, first]) => ({
        group: "godwit serve",
        peer: "leshan",
        name: `${how}: killed and started again, ${moves ? "the device's NAT has moved it" : "the device where it was"}, and ${what} is its first word: served within a minute`,
        short: moves && what === "an Update" && SHORT.has(how),
        run: (bench) => run(bench, device, moves, first),
      })),
    ),
  ),
];
