// `godwit serve` and a person with libcoap's coap-client: what docs/interop.md tells to type.
import { equal, match } from "node:assert/strict";
import { startServe } from "./godwit-serve.mjs";

const KEY = "a key of 16 byte";
const hexOf = (text) => Buffer.from(text).toString("hex");

const STEPS = {
  async ".well-known/core"({ type }) {
    match(await type("get", "/.well-known/core"), /<\/rd>;rt="core\.rd"/);
  },
  async "Register, Update and De-register"({ type, api }) {
    const registered = await type(
      "post",
      "/rd?ep=by-hand&lt=60&lwm2m=1.1&b=U",
      ...["-t", "40", "-e", "</1/0>,</3/0>"],
    );
    const [, place] = /c:2\.01 .*Location-Path:rd, Location-Path:([\w-]+)/.exec(registered);
    const { body: device } = await api("GET", "/devices/by-hand");
    equal(device.lifetime, 60);
    equal(device.version, "1.1");
    match(await type("post", `/rd/${place}?lt=120`), /c:2\.04 /);
    const { body: updated } = await api("GET", "/devices/by-hand");
    equal(updated.lifetime, 120);
    equal(updated.registeredAt, device.registeredAt);
    match(await type("delete", `/rd/${place}`), /c:2\.02 /);
    equal((await api("GET", "/devices/by-hand")).status, 404);
    match(await type("post", `/rd/${place}`), /c:4\.04 /);
  },
  async "a Register that is refused says why"({ type, api }) {
    const list = ["-t", "40", "-e", "</1/0>,</3/0>"];
    match(await type("post", "/rd?ep=by-hand&lwm2m=1.1", ...list), /c:4\.00 .*lt is missing/);
    match(await type("post", "/rd?ep=by-hand&lt=60&lwm2m=9.9", ...list), /c:4\.12 .*9\.9/);
    match(await type("post", "/rd?ep=by-hand&lt=60&lwm2m=1.1", "-t", "40"), /c:4\.00 .*objects/);
    equal((await api("GET", "/devices")).body.total, 0);
  },
};

/** Each command is a process of its own: with DTLS it begins with a handshake. */
const BUILDS = [
  { peer: "libcoap", command: "coap-client-notls", words: [] },
  ...["openssl", "gnutls"].map((build) => ({
    peer: `libcoap-${build}`,
    command: `coap-client-${build}`,
    words: ["-u", "by-hand-1", "-k", KEY],
    credentials: [{ kind: "psk", endpoint: "by-hand", identity: "by-hand-1", key: hexOf(KEY) }],
  })),
];

export const byHandCases = BUILDS.flatMap(({ peer, command, words, credentials }) =>
  Object.entries(STEPS).map(([name, run]) => ({
    group: "godwit serve",
    peer,
    name: `by hand${credentials ? ", DTLS with PSK" : ""}: ${name}`,
    short: true,
    async run(bench) {
      const { port, securePort, api } = await startServe(bench, { credentials });
      const base = credentials ? `coaps://127.0.0.1:${securePort}` : `coap://127.0.0.1:${port}`;
      /** Runs coap-client; all it told, with the answer's header. */
      const type = async (method, path, ...args) => {
        const all = ["-v", "6", "-B", "10", "-m", method, ...words, ...args, `${base}${path}`];
        const { text, complaints } = await bench.run(command, all);
        return `${text}\n${complaints}`;
      };
      await run({ type, api });
    },
  })),
);
