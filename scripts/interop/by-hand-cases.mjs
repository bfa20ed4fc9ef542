// `godwit serve` and a person with libcoap's coap-client: what docs/interop.md tells to type.
import { equal, match } from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { startServe } from "./godwit-serve.mjs";
import { DEVICE_NAME, pki } from "./pki.mjs";

const ENDPOINT = "by-hand";
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
  { peer: "libcoap", command: "coap-client-notls", how: "", words: () => [] },
  ...["openssl", "gnutls"].flatMap((build) => [
    {
      peer: `libcoap-${build}`,
      command: `coap-client-${build}`,
      how: ", DTLS with PSK",
      words: () => ["-u", "by-hand-1", "-k", KEY],
      credential: () => ({
        kind: "psk",
        endpoint: ENDPOINT,
        identity: "by-hand-1",
        key: hexOf(KEY),
      }),
    },
    {
      peer: `libcoap-${build}`,
      command: `coap-client-${build}`,
      how: ", DTLS with X.509",
      words: (at) => [
        ...["-c", at("device-chain.pem"), "-j", at("device.key")],
        ...["-C", at("root.pem"), "-R", at("roots.pem")],
      ],
      credential: () => ({ kind: "x509", endpoint: ENDPOINT, name: DEVICE_NAME }),
    },
  ]),
  {
    peer: "libcoap-gnutls",
    command: "coap-client-gnutls",
    how: ", DTLS with raw public keys",
    words: (at) => ["-M", at("device-raw.pem"), "-C", at("root.pem")],
    credential: async (at) => ({
      kind: "rpk",
      endpoint: ENDPOINT,
      publicKey: await readFile(at("device.pub"), "utf8"),
    }),
  },
];

/** What `godwit serve` shows and trusts. */
const SHOWN = (at) => [
  ...["--coaps-key", at("server.key"), "--coaps-cert", at("server-chain.pem")],
  ...["--coaps-ca", at("root.pem")],
];

export const byHandCases = BUILDS.flatMap(({ peer, command, how, words, credential }) =>
  Object.entries(STEPS).map(([name, run]) => ({
    group: "godwit serve",
    peer,
    name: `by hand${how}: ${name}`,
    // A server's start costs a second: of those by certificate one step is enough in a hurry.
    short: !how.includes("X.509") && !how.includes("raw") ? true : name.startsWith("Register"),
    async run(bench) {
      const at = await pki();
      const secured = credential && { credentials: [await credential(at)], options: SHOWN(at) };
      const { port, securePort, api } = await startServe(bench, secured);
      const base = credential ? `coaps://127.0.0.1:${securePort}` : `coap://127.0.0.1:${port}`;
      /** Runs coap-client; all it told, with the answer's header. */
      const type = async (method, path, ...args) => {
        const all = ["-v", "6", "-B", "10", "-m", method, ...words(at), ...args, `${base}${path}`];
        const { text, complaints } = await bench.run(command, all);
        return `${text}\n${complaints}`;
      };
      await run({ type, api });
    },
  })),
);
