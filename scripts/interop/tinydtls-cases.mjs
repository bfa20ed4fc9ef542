// DTLS with tinydtls, the stack of Wakaama: it takes one handshake message a record, and begins its random with a clock.
import { equal } from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { signingKey } from "@godwit/dtls";
import { freePort } from "./bench.mjs";
import { startClient, startEcho } from "./godwit-dtls.mjs";
import { TINYDTLS } from "./peers.mjs";
import { startRelay } from "./rebind-relay.mjs";

const IDENTITY = "interop-6";
const KEY = "00112233445566778899aabbccddeeff";
const key = Uint8Array.from(Buffer.from(KEY, "hex"));

/** A key pair as each side takes it. */
function keyPair() {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const { d, x, y } = privateKey.export({ format: "jwk" });
  return {
    theirs: [d, x, y].map((part) => Buffer.from(part, "base64url").toString("hex")),
    ours: signingKey(privateKey.export({ format: "pem", type: "pkcs8" })),
  };
}

/** How each side proves itself. */
const WAYS = {
  PSK: () => ({
    theirs: ["psk", IDENTITY, KEY],
    client: { identity: IDENTITY, key },
    server: { key },
  }),
  "raw public keys": () => {
    const [one, other] = [keyPair(), keyPair()];
    const certificate = { kind: "rpk", key: one.ours };
    return {
      theirs: ["rpk", ...other.theirs],
      client: { certificate },
      server: { certificates: [certificate] },
    };
  },
};

const start = (bench, role, port, way) =>
  bench.start(TINYDTLS, [role, String(port), ...way.theirs]);

const both = Object.entries(WAYS).flatMap(([how, make]) => [
  {
    group: "DTLS server of Godwit",
    name: `${how}: handshake and data, one handshake message a record`,
    async run(bench) {
      const way = make();
      const server = await startEcho(bench, way.server);
      const client = start(bench, "client", server.port, way);
      await client.expect(/^connected/);
      equal((await server.next("opened")).how, "full");
      await client.ask("hello", /^answer hello$/);
    },
  },
  {
    group: "DTLS client of Godwit",
    name: `${how}: handshake and data, one handshake message a record`,
    async run(bench) {
      const way = make();
      const port = await freePort();
      await start(bench, "server", port, way).expect(/^listening/);
      const client = await startClient(bench, { port, ...way.client });
      equal((await client.connect("full")).how, "full");
      equal(await client.ask("hello"), "hello");
    },
  },
]);

const reboot = {
  group: "DTLS server of Godwit",
  name: "PSK: a device that is killed and started again at the same address and port, within the second of its clock, has a new session at once",
  async run(bench) {
    const way = WAYS.PSK();
    const server = await startEcho(bench, way.server);
    // Its new port becomes the old one.
    const relay = await startRelay({ server: { host: "127.0.0.1", port: server.port } });
    bench.after(() => relay.close());
    relay.onePort = true;
    for (let round = 0; round < 3; round++) {
      const client = start(bench, "client", relay.port, way);
      await client.expect(/^connected/, 3_000);
      await server.next("opened");
      await client.ask(`hello ${round}`, new RegExp(`^answer hello ${round}$`));
      await client.kill();
    }
  },
};

export const tinydtlsCases = [...both, reboot].map((one) => ({
  peer: "tinydtls",
  short: true,
  ...one,
}));
