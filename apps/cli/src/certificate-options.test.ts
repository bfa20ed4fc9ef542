import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import {
  X509Certificate,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
} from "node:crypto";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { readCoapsFiles } from "./coaps-files.ts";
import { Served, serveUntilExit } from "./crash/served.test-kit.ts";
import { readCredentials } from "./credential-file.ts";
import { credentialBody } from "./credential-words.ts";
import { securityOf, withoutStrayKey } from "./device-security.ts";
import { keyLogFile } from "./key-log.ts";

const vectors = (
  name: string,
): { keys: Record<string, string>; certificates: Record<string, string> } =>
  JSON.parse(
    readFileSync(
      new URL(`../../../packages/dtls/src/vectors/${name}.json`, import.meta.url),
      "utf8",
    ),
  ) as never;
const { keys, certificates } = vectors("certificate-faults");
const GODWIT = fileURLToPath(new URL("../bin/godwit.mjs", import.meta.url));
const IN_TIME = 1_800_000_000_000; // January 2027
const LIMIT = { timeout: 30_000 };

suite("keys and certificates on the command line", () => {
  const folder = mkdtempSync(join(tmpdir(), "godwit-options-"));
  after(() => rmSync(folder, { recursive: true }));

  const put = (name: string, content: string): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const pem = (...names: readonly string[]): string =>
    names
      .map((name) => new X509Certificate(Buffer.from(certificates[name] ?? "", "hex")).toString())
      .join("");
  const leafKey = createPrivateKey({
    key: Buffer.from(keys["leaf"] ?? "", "hex"),
    format: "der",
    type: "pkcs8",
  });
  const key = put("leaf.key", leafKey.export({ format: "pem", type: "pkcs8" }) as string);
  const sec1 = put("sec1.key", leafKey.export({ format: "pem", type: "sec1" }) as string);
  const pub = put(
    "leaf.pub",
    createPublicKey(leafKey).export({ format: "pem", type: "spki" }) as string,
  );
  const made = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const deviceKey = put(
    "device.key",
    made.privateKey.export({ format: "pem", type: "pkcs8" }) as string,
  );
  const devicePub = put(
    "device.pub",
    made.publicKey.export({ format: "pem", type: "spki" }) as string,
  );
  const chain = put("chain.pem", pem("sans", "inter"));
  const leaf = put("sans.pem", pem("sans"));
  const device = put("device.pem", pem("clientOnly", "inter"));
  const root = put("root.pem", pem("root"));
  const wrongOrder = put("wrong-order.pem", pem("inter", "sans"));
  const gap = put("gap.pem", pem("sans", "root"));
  const expired = put(
    "expired.pem",
    new X509Certificate(
      Buffer.from(vectors("certificates").certificates["expired"] ?? "", "hex"),
    ).toString(),
  );
  const missing = join(folder, "missing.pem");

  test("serve shows a certificate and the bare key to it, or the bare key alone, or a key of its own", () => {
    const kinds = (files: object): unknown =>
      readCoapsFiles({ coaps: "x", ...files }, IN_TIME).certificates?.map(({ kind }) => kind);
    assert.deepEqual(kinds({ coapsKey: key, coapsCert: chain }), ["x509", "rpk"]);
    assert.deepEqual(kinds({ coapsKey: sec1 }), ["rpk"]);
    assert.equal(kinds({}), undefined);
    const { anchors, warnings } = readCoapsFiles({ coaps: "x", coapsCa: root }, IN_TIME);
    assert.equal(anchors.length, 1);
    assert.deepEqual(warnings, []);
  });

  for (const { what, files, says } of [
    {
      what: "a root that expired",
      files: { coapsCa: expired },
      says: /^--coaps-ca: ".*" expired on Nov 23/,
    },
    {
      what: "a certificate for clients",
      files: { coapsKey: key, coapsCert: device },
      says: /^--coaps-cert .*wrong usage: the certificate is not for a server/,
    },
  ]) {
    test(`serve warns of ${what}`, () => {
      const { warnings } = readCoapsFiles({ coaps: "x", ...files }, IN_TIME);
      assert.match(warnings.join("\n"), says);
    });
  }

  for (const { what, files, says } of [
    {
      what: "a key without --coaps",
      files: { coaps: undefined, coapsKey: key },
      says: /--coaps-key is for CoAP over DTLS: give --coaps, too/,
    },
    {
      what: "a certificate without its key",
      files: { coapsCert: chain },
      says: /--coaps-cert needs the key/,
    },
    {
      what: "a key that is not there",
      files: { coapsKey: missing },
      says: /--coaps-key .*missing\.pem: there is no such file/,
    },
    {
      what: "a public key as the key",
      files: { coapsKey: pub },
      says: /--coaps-key .*: a private key is wanted, and this is a public key/,
    },
    {
      what: "another's certificate",
      files: { coapsKey: deviceKey, coapsCert: chain },
      says: /--coaps-cert .*: the file belongs to another key/,
    },
    {
      what: "a chain upside down",
      files: { coapsKey: key, coapsCert: wrongOrder },
      says: /put its own certificate first/,
    },
    {
      what: "a chain with a gap",
      files: { coapsKey: key, coapsCert: gap },
      says: /second certificate did not issue the one before it/,
    },
    {
      what: "a key as the roots",
      files: { coapsCa: key },
      says: /--coaps-ca .*: a certificate is wanted, and this is a private key/,
    },
  ]) {
    test(`serve refuses ${what}, by the option and the file`, () => {
      assert.throws(() => readCoapsFiles({ coaps: "x", ...files } as never, IN_TIME), says);
    });
  }

  const server = "coaps://127.0.0.1";
  test("device takes a pre-shared key, a raw public key, or a certificate with what it trusts", () => {
    const kind = (options: object): unknown => securityOf({ server, ...options })?.kind;
    assert.equal(kind({ pskIdentity: "a", pskKey: "0001020304050607" }), "psk");
    assert.equal(kind({ rpkKey: deviceKey, serverPublicKey: pub }), "rpk");
    for (const trust of [
      { serverCert: leaf },
      { serverPublicKey: pub },
      { ca: root, serverName: "x" },
      { ca: root, serverCert: leaf, certificateUsage: "1" },
      { serverCert: root, certificateUsage: "2" },
    ]) {
      assert.equal(kind({ cert: device, key, ...trust }), "x509");
    }
    assert.equal(securityOf({ server: "coap://127.0.0.1" }), undefined);
  });

  test("a pre-shared key in the environment stands in the way of no other credential", () => {
    const others = { rpkKey: deviceKey, serverPublicKey: pub };
    const options = withoutStrayKey({ server, ...others, pskKey: "0001" });
    assert.equal(securityOf(options)?.kind, "rpk");
    const own = { server, pskIdentity: "a", pskKey: "0001020304050607" };
    assert.deepEqual(withoutStrayKey(own), own);
  });

  for (const { what, options, says } of [
    { what: "coaps with nothing", options: {}, says: /coaps:\/\/ needs a key: give .*--rpk-key/ },
    {
      what: "half a pre-shared key",
      options: { pskIdentity: "a" },
      says: /both --psk-identity and --psk-key/,
    },
    {
      what: "the other half of a pre-shared key",
      options: { pskKey: "0001020304050607" },
      says: /both --psk-identity and --psk-key/,
    },
    {
      what: "two credentials",
      options: { pskIdentity: "a", pskKey: "00", rpkKey: deviceKey },
      says: /--psk-identity and --rpk-key exclude each other/,
    },
    {
      what: "a raw key and no server's",
      options: { rpkKey: deviceKey },
      says: /--rpk-key needs the server's public key: give --server-public-key/,
    },
    {
      what: "the server's key alone",
      options: { serverPublicKey: pub },
      says: /--server-public-key is nothing by itself/,
    },
    {
      what: "the public key as the device's",
      options: { rpkKey: pub, serverPublicKey: pub },
      says: /--rpk-key .*leaf\.pub: a private key is wanted/,
    },
    {
      what: "the server's private key",
      options: { rpkKey: deviceKey, serverPublicKey: key },
      says: /--server-public-key .*stays with its owner/,
    },
    {
      what: "its own key as the server's",
      options: { rpkKey: deviceKey, serverPublicKey: devicePub },
      says: /--server-public-key is the device's own/,
    },
    {
      what: "roots with a raw key",
      options: { rpkKey: deviceKey, serverPublicKey: pub, ca: root },
      says: /--ca does not go with --rpk-key/,
    },
    {
      what: "a certificate without its key",
      options: { cert: device },
      says: /give both --cert and --key/,
    },
    {
      what: "a certificate of another key",
      options: { cert: device, key: deviceKey, ca: root },
      says: /--cert belongs to another key/,
    },
    {
      what: "a certificate and no trust",
      options: { cert: device, key },
      says: /nothing says which server to trust: give --ca, --server-cert or --server-public-key/,
    },
    {
      what: "usage 0 without a root",
      options: { cert: device, key, serverCert: leaf, certificateUsage: "0" },
      says: /--certificate-usage 0 asks for a way to a trusted root: give --ca, too/,
    },
    {
      what: "usage 3 with a root",
      options: { cert: device, key, serverCert: leaf, ca: root },
      says: /--certificate-usage 3 trusts --server-cert alone: leave out --ca/,
    },
    {
      what: "a usage of nothing",
      options: { cert: device, key, ca: root, certificateUsage: "1" },
      says: /--certificate-usage 1 says what --server-cert is for/,
    },
    {
      what: "two ways to know the server",
      options: { cert: device, key, ca: root, serverPublicKey: pub },
      says: /--server-public-key, or by certificates: not by both/,
    },
    {
      what: "a file that is not there",
      options: { cert: missing, key, ca: root },
      says: /--cert .*missing\.pem: there is no such file/,
    },
  ]) {
    test(`device refuses ${what}, by its option`, () => {
      assert.throws(() => securityOf({ server, ...options } as never), says);
    });
  }

  for (const { what, file, words, says } of [
    { what: "nothing", file: undefined, words: {}, says: /give a JSON file .* or --endpoint/ },
    {
      what: "an endpoint alone",
      file: undefined,
      words: { endpoint: "a" },
      says: /--endpoint a is known by what\?/,
    },
    {
      what: "two proofs",
      file: undefined,
      words: { endpoint: "a", name: "x", publicKey: pub },
      says: /--public-key and --name exclude each other/,
    },
    {
      what: "a file and an option",
      file: key,
      words: { endpoint: "a" },
      says: /--endpoint and a file exclude each other/,
    },
    { what: "a file that is no JSON", file: key, words: {}, says: /leaf\.key is no JSON/ },
    {
      what: "a private key",
      file: undefined,
      words: { endpoint: "a", publicKey: key },
      says: /--public-key .*stays with its owner/,
    },
    {
      what: "a key as certificate",
      file: undefined,
      words: { endpoint: "a", certificate: pub },
      says: /--certificate .*a certificate is wanted/,
    },
  ]) {
    test(`credentials add refuses ${what}`, () => {
      assert.throws(() => credentialBody(file, words), says);
    });
  }

  test("a file of credentials has all kinds in one array", () => {
    const file = JSON.stringify([
      { kind: "psk", endpoint: "a", identity: "a", key: "000102030405060708090a0b0c0d0e0f" },
      { kind: "rpk", endpoint: "b", publicKey: readFileSync(devicePub, "utf8") },
      { kind: "x509", endpoint: "c", certificate: pem("clientOnly") },
      { kind: "x509", endpoint: "d" },
    ]);
    const kinds = readCredentials(file).map(({ kind }) => kind);
    assert.deepEqual(kinds, ["psk", "rpk", "x509", "x509"]);
  });

  const good = { kind: "x509", endpoint: "a" };
  for (const { what, text, says } of [
    { what: "that is no JSON", text: "{", says: /^it is no JSON$/ },
    { what: "that is one credential", text: JSON.stringify(good), says: /it is no array/ },
    {
      what: "with one of an unknown kind",
      text: JSON.stringify([good, { kind: "password", endpoint: "b" }]),
      says: /^credential 2, of "b": .*kind/s,
    },
    {
      what: "with a private key in it",
      text: JSON.stringify([{ kind: "rpk", endpoint: "b", publicKey: readFileSync(key, "utf8") }]),
      says: /^credential 1, of "b": publicKey: .*stays with its owner/,
    },
    {
      what: "with a key that is too short",
      text: JSON.stringify([good, good, { kind: "psk", endpoint: "c", identity: "c", key: "00" }]),
      says: /^credential 3, of "c": the PSK has 1 bytes/,
    },
    { what: "with null in it", text: "[null]", says: /^credential 1: / },
  ]) {
    test(`a file of credentials ${what} is refused by the one that is wrong`, () => {
      assert.throws(() => readCredentials(text), { message: says });
    });
  }

  test("the key log is switched on by the option alone, and its file is for its owner alone", () => {
    const environment = { SSLKEYLOGFILE: join(folder, "environment.log") };
    assert.equal(keyLogFile(undefined, environment), undefined);
    assert.equal(keyLogFile(true, environment), environment.SSLKEYLOGFILE);
    assert.throws(() => keyLogFile(true, {}), /--keylog needs a file/);
    assert.throws(() => keyLogFile(join(folder, "none/keys.log"), {}), /--keylog: cannot write/);
    const open = put("open.log", "");
    chmodSync(open, 0o644);
    assert.equal(keyLogFile(open, {}), open);
    for (const file of [open, environment.SSLKEYLOGFILE]) {
      assert.equal(statSync(file).mode & 0o777, 0o600);
    }
  });

  test(
    "a key for DTLS that is added where the server speaks none is kept, and a word is said of it",
    LIMIT,
    async () => {
      const data = join(folder, "plain");
      const served = await Served.start({ data });
      try {
        const where = ["--http", `http://127.0.0.1:${served.ports.http}`, "--data", data];
        for (const [words, isSaid] of [
          [{ kind: "psk", endpoint: "a", identity: "a", key: "00".repeat(16) }, true],
          [
            {
              kind: "oscore",
              endpoint: "b",
              senderId: "01",
              recipientId: "02",
              masterSecret: "00".repeat(16),
            },
            false,
          ],
        ] as const) {
          const said: string[] = [];
          const file = put(`${words.kind}.json`, JSON.stringify(words));
          const added = await godwit("credentials", "add", file, ...where, said);
          assert.match(added, new RegExp(`^added ${words.kind}:`));
          assert.equal(/speaks no DTLS.*--coaps/.test(said.join("")), isSaid);
        }
      } finally {
        await served.end("SIGTERM");
      }
    },
  );

  test(
    "a key that was made, exported, pinned and added: a device comes in by raw public keys",
    LIMIT,
    async () => {
      const data = join(folder, "data");
      const log = join(folder, "keys.log");
      const served = await Served.start({
        data,
        dtls: true,
        nosec: false,
        args: ["--keylog", log],
      });
      let one: ChildProcess | undefined;
      try {
        const where = ["--http", `http://127.0.0.1:${served.ports.http}`, "--data", data];
        const exported = await godwit("credentials", "server-key", ...where);
        assert.match(exported, /^-----BEGIN PUBLIC KEY-----\n/);
        const pinned = put("server.pub", exported);
        const add = ["--endpoint", "lamp", "--public-key", devicePub];
        assert.match(await godwit("credentials", "add", ...add, ...where), /^added rpk:30/);
        const self = await godwit("credentials", "server-key", "--certificate", ...where);
        const { publicKey } = new X509Certificate(self);
        assert.equal(publicKey.export({ format: "pem", type: "spki" }), exported);
        const args = ["--server", `coaps://127.0.0.1:${served.ports.coaps}`, "--endpoint", "lamp"];
        const deviceLog = join(folder, "device.log");
        const proof = [
          "--rpk-key",
          deviceKey,
          "--server-public-key",
          pinned,
          "--keylog",
          deviceLog,
        ];
        one = spawn(process.execPath, [GODWIT, "device", ...args, ...proof, "--cid"]);
        const lines: string[] = [];
        for await (const line of createInterface(one.stdout!)) {
          lines.push(line);
          if (line.includes("registered at")) break;
        }
        assert.match(lines.join("\n"), /DEBUGGING: the keys of all DTLS sessions are written/);
        assert.match(lines.join("\n"), /secured by a full handshake/);
        const line = readFileSync(log, "utf8");
        assert.match(line, /^CLIENT_RANDOM [0-9a-f]{64} [0-9a-f]{96}\n$/);
        assert.equal(readFileSync(deviceLog, "utf8"), line);
        assert.equal(statSync(log).mode & 0o777, 0o600);
      } finally {
        const ended = one && once(one, "close");
        one?.kill("SIGKILL");
        await ended;
        await served.end("SIGTERM");
      }
    },
  );

  test("serve ends with the reason where a file of its key is none", LIMIT, async () => {
    const data = join(folder, "data-2");
    const { code, said } = await serveUntilExit({ data, dtls: true, args: ["--coaps-key", pub] });
    assert.equal(code, 1);
    assert.match(said, /^godwit: --coaps-key .*leaf\.pub: a private key is wanted/);
  });
});

/** What the command prints; rejects with what it says where it fails. */
/** What it prints. What it says on standard error goes to the list among the arguments, if there is one. */
async function godwit(...words: readonly (string | string[])[]): Promise<string> {
  const args = words.filter((word) => typeof word === "string");
  const child = spawn(process.execPath, [GODWIT, ...args]);
  let [printed, said] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const [code] = (await once(child, "close")) as [number];
  if (code !== 0) throw new Error(said);
  for (const word of words) if (typeof word !== "string") word.push(said);
  return printed;
}
