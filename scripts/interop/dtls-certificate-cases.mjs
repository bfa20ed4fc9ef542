// DTLS alone, with raw public keys and X.509: strangers' stacks with ours. And what only few peers have: the suites of PSK
// beside AES_128_CCM_8, and peers without the extended master secret.
import { equal, match } from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SUITES, readCertificates, signingKey } from "@godwit/dtls";
import { CON, decodeMessage, encodeMessage, formatCode, request } from "@godwit/coap";
import { freePort } from "./bench.mjs";
import { startClient, startEcho } from "./godwit-dtls.mjs";
import { pki } from "./pki.mjs";

const HOST = "localhost";
/** Bytes. */
const MTU = 300;
const IDENTITY = "interop-5";
const KEY = "00112233445566778899aabbccddeeff";
const key = Uint8Array.from(Buffer.from(KEY, "hex"));

/** What Godwit's suites are called elsewhere. */
const SUITE_NAMES = [
  {
    suite: 0xc0ae,
    name: "AES_128_CCM_8",
    openssl: "ECDHE-ECDSA-AES128-CCM8",
    gnutls: "AES-128-CCM-8",
  },
  { suite: 0xc0ac, name: "AES_128_CCM", openssl: "ECDHE-ECDSA-AES128-CCM", gnutls: "AES-128-CCM" },
  {
    suite: 0xc02b,
    name: "AES_128_GCM",
    openssl: "ECDHE-ECDSA-AES128-GCM-SHA256",
    gnutls: "AES-128-GCM",
  },
];
const [CCM_8] = SUITE_NAMES;
const cipher = ({ openssl }) => ["-cipher", `${openssl}:@SECLEVEL=0`];
const KINDS = { rpk: "RAWPK", x509: "X509" };
const certified = (kind, { gnutls }, more = "") =>
  `NORMAL:-VERS-ALL:+VERS-DTLS1.2:-KX-ALL:+ECDHE-ECDSA:-CIPHER-ALL:+${gnutls}:-CTYPE-ALL:+CTYPE-SRV-${KINDS[kind]}:+CTYPE-CLI-${KINDS[kind]}${more}`;

const readKey = async (path) => signingKey(await readFile(path, "utf8"));
const readChain = async (path) => readCertificates(await readFile(path, "utf8"));

async function shown(at, kind, name) {
  const own = await readKey(at(`${name}.key`));
  if (kind === "rpk") return { kind, key: own };
  return { kind, key: own, chain: await readChain(at(`${name}-chain.pem`)) };
}

async function echo(bench, kind, more = {}) {
  const at = await pki();
  const certificates = [await shown(at, kind, "server")];
  return startEcho(bench, { certificates, anchors: await readChain(at("root.pem")), ...more });
}

async function client(bench, kind, { suite }, more = {}) {
  const at = await pki();
  return startClient(bench, {
    certificate: await shown(at, kind, "device"),
    anchors: await readChain(at("root.pem")),
    suites: SUITES.filter(({ id }) => id === suite),
    ...(kind === "x509" && { name: HOST }),
    ...more,
  });
}

/** gnutls-cli's words about who it is and whom it trusts. */
function gnutlsProof(at, kind) {
  if (kind === "rpk") {
    return ["--rawpkkeyfile", at("device.key"), "--rawpkfile", at("device.pub"), "--insecure"];
  }
  const mine = ["--x509keyfile", at("device.key"), "--x509certfile", at("device-chain.pem")];
  return [...mine, "--x509cafile", at("root.pem"), "--verify-hostname", HOST];
}

const servers = [
  ...SUITE_NAMES.map((suite) => ({
    peer: "openssl",
    name: `X.509 on both sides with ECDHE_ECDSA and ${suite.name}: handshake and data, then resumption`,
    short: suite === CCM_8,
    async run(bench) {
      const at = await pki();
      const server = await echo(bench, "x509");
      const session = join(await bench.scratch(), "session");
      const start = (...more) =>
        bench.start("openssl", [
          ...["s_client", "-dtls1_2", "-connect", `127.0.0.1:${server.port}`, "-no_ticket"],
          ...["-cert", at("device.pem"), "-key", at("device.key"), "-cert_chain", at("inter.pem")],
          ...["-CAfile", at("root.pem"), "-verify_return_error", "-verify_hostname", HOST],
          ...["-servername", HOST, ...cipher(suite), ...more],
        ]);
      const first = start("-sess_out", session);
      const { how, identity } = await server.next("opened");
      equal(how, "full");
      match(identity.subject, /interop-6$/);
      await first.expect(/Verify return code: 0 \(ok\)/);
      await first.ask("hello", /^hello$/);
      await first.end();
      const second = start("-sess_in", session);
      equal((await server.next("opened")).how, "resumed");
      await second.ask("again", /^again$/);
    },
  })),
  {
    peer: "openssl",
    name: "X.509: a device whose certificate no trusted root has issued is refused, and told",
    short: true,
    async run(bench) {
      const at = await pki();
      const server = await echo(bench, "x509");
      const stranger = bench.start("openssl", [
        ...["s_client", "-dtls1_2", "-connect", `127.0.0.1:${server.port}`, ...cipher(CCM_8)],
        ...["-cert", at("stranger.pem"), "-key", at("stranger.key")],
      ]);
      match((await server.next("failed")).why, /unknown issuer/);
      await stranger.expect(/alert unknown ca/);
    },
  },
  {
    peer: "openssl",
    name: "X.509: a device that shows no certificate is refused, and told",
    short: true,
    async run(bench) {
      const server = await echo(bench, "x509");
      const stranger = bench.start("openssl", [
        ...["s_client", "-dtls1_2", "-connect", `127.0.0.1:${server.port}`, ...cipher(CCM_8)],
      ]);
      match((await server.next("failed")).why, /client shows no certificate/);
      await stranger.expect(/alert handshake failure/);
    },
  },
  ...["rpk", "x509"].flatMap((kind) =>
    SUITE_NAMES.map((suite) => ({
      peer: "gnutls",
      name: `${kind === "rpk" ? "raw public keys" : "X.509"} on both sides with ECDHE_ECDSA and ${suite.name}: handshake and data, then resumption`,
      short: suite === CCM_8,
      async run(bench) {
        const at = await pki();
        const server = await echo(bench, kind);
        const stranger = bench.start("gnutls-cli", [
          ...["--udp", "-p", String(server.port), "127.0.0.1", ...gnutlsProof(at, kind)],
          ...["--priority", certified(kind, suite, ":%NO_TICKETS"), "--resume"],
        ]);
        const first = await server.next("opened");
        equal(first.how, "full");
        equal(first.identity.kind, kind);
        equal((await server.next("opened")).how, "resumed");
        await stranger.expect(/This is a resumed session/);
        await stranger.expect(/Simple Client Mode/);
        await stranger.ask("again", /^again$/);
      },
    })),
  ),
].map((one) => ({ group: "DTLS server of Godwit", ...one }));

async function opensslServer(bench, port, suite, name = "server") {
  const at = await pki();
  const chain = name === "server" ? ["-cert_chain", at("inter.pem")] : [];
  const server = bench.start("openssl", [
    ...["s_server", "-dtls1_2", "-accept", `127.0.0.1:${port}`, ...cipher(suite)],
    ...["-cert", at(`${name}.pem`), "-key", at(`${name}.key`), ...chain],
    ...["-CAfile", at("root.pem"), "-Verify", "3", "-verify_return_error"],
  ]);
  await server.expect(/^ACCEPT/);
  return server;
}

async function gnutlsServer(bench, port, kind, suite, more = "", options = []) {
  const at = await pki();
  const proof =
    kind === "rpk"
      ? ["--rawpkkeyfile", at("server.key"), "--rawpkfile", at("server.pub")]
      : [
          ...["--x509keyfile", at("server.key"), "--x509certfile", at("server-chain.pem")],
          ...["--x509cafile", at("root.pem"), "--verify-client-cert"],
        ];
  const server = bench.start("gnutls-serv", [
    ...["--udp", "-p", String(port), ...proof, "--require-client-cert", "--echo"],
    ...["--priority", certified(kind, suite, more), ...options],
  ]);
  await server.expect(/listening on IPv4/);
  return server;
}

const clients = [
  ...SUITE_NAMES.map((suite) => ({
    peer: "openssl",
    name: `X.509 on both sides with ECDHE_ECDSA and ${suite.name}: handshake and data, then resumption`,
    short: suite === CCM_8,
    async run(bench) {
      const port = await freePort();
      const server = await opensslServer(bench, port, suite);
      const one = await client(bench, "x509", suite, { port });
      equal((await one.connect("full")).how, "full");
      one.send("hello\n");
      await server.expect(/^hello$/);
      server.say("a line of its own");
      equal((await one.receive()).trim(), "a line of its own");
      one.close();
      equal((await one.connect("resume")).how, "resumed");
      one.send("again\n");
      await server.expect(/^again$/);
    },
  })),
  {
    peer: "openssl",
    name: "X.509: a server whose certificate no trusted root has issued is left",
    short: true,
    async run(bench) {
      const port = await freePort();
      await opensslServer(bench, port, CCM_8, "stranger");
      const one = await client(bench, "x509", CCM_8, { port, name: undefined });
      match(await one.fail(), /unknown issuer/);
    },
  },
  ...["rpk", "x509"].flatMap((kind) =>
    SUITE_NAMES.map((suite) => ({
      peer: "gnutls",
      name: `${kind === "rpk" ? "raw public keys" : "X.509"} on both sides with ECDHE_ECDSA and ${suite.name}: handshake and data, then resumption`,
      short: suite === CCM_8,
      async run(bench) {
        const port = await freePort();
        await gnutlsServer(bench, port, kind, suite);
        const one = await client(bench, kind, suite, { port });
        const { how, identity } = await one.connect("full");
        equal(how, "full");
        equal(identity.kind, kind);
        equal((await one.ask("hello\n")).trim(), "hello");
        one.close();
        equal((await one.connect("resume")).how, "resumed");
        equal((await one.ask("again\n")).trim(), "again");
      },
    })),
  ),
].map((one) => ({ group: "DTLS client of Godwit", ...one }));

/** The suites of PSK that OpenSSL and GnuTLS have beside the usual one. */
const PSK_SUITES = [
  { suite: 0xc0a9, name: "AES_256_CCM_8", openssl: "PSK-AES256-CCM8", gnutls: "AES-256-CCM-8" },
  { suite: 0xc0a4, name: "AES_128_CCM", openssl: "PSK-AES128-CCM", gnutls: "AES-128-CCM" },
  { suite: 0x00a8, name: "AES_128_GCM", openssl: "PSK-AES128-GCM-SHA256", gnutls: "AES-128-GCM" },
  {
    suite: 0x00ae,
    name: "AES_128_CBC_SHA256 and encrypt-then-MAC",
    openssl: "PSK-AES128-CBC-SHA256",
    gnutls: "AES-128-CBC:+SHA256",
  },
];
const psk = ({ gnutls }, more = "") =>
  `NORMAL:-VERS-ALL:+VERS-DTLS1.2:-KX-ALL:+PSK:-CIPHER-ALL:-MAC-ALL:+AEAD:+${gnutls}${more}`;
const gnutlsPsk = (bench, port, priority) =>
  bench.start("gnutls-cli", [
    ...["--udp", "-p", String(port), "127.0.0.1", "--pskusername", IDENTITY],
    ...["--pskkey", KEY, "--priority", priority],
  ]);
const CBC = PSK_SUITES.at(-1);
const [, , GCM] = PSK_SUITES;
const WITHOUT_EMS = { tuning: { requireExtendedMasterSecret: false } };

const pskCases = [
  ...PSK_SUITES.flatMap((suite) => [
    {
      group: "DTLS server of Godwit",
      peer: "openssl",
      name: `PSK with ${suite.name}: handshake and data`,
      async run(bench) {
        const server = await startEcho(bench, { key });
        const stranger = bench.start("openssl", [
          ...["s_client", "-dtls1_2", "-connect", `127.0.0.1:${server.port}`, "-no_ticket"],
          ...["-psk_identity", IDENTITY, "-psk", KEY, ...cipher(suite)],
        ]);
        await server.next("opened");
        await stranger.ask("hello", /^hello$/);
      },
    },
    {
      group: "DTLS client of Godwit",
      peer: "openssl",
      name: `PSK with ${suite.name}: handshake and data`,
      async run(bench) {
        const port = await freePort();
        const server = bench.start("openssl", [
          ...["s_server", "-dtls1_2", "-accept", `127.0.0.1:${port}`, "-nocert", "-psk", KEY],
          ...["-psk_identity", IDENTITY, ...cipher(suite)],
        ]);
        await server.expect(/^ACCEPT/);
        const suites = SUITES.filter(({ id }) => id === suite.suite);
        const one = await startClient(bench, { port, identity: IDENTITY, key, suites });
        await one.connect("full");
        one.send("hello\n");
        await server.expect(/^hello$/);
      },
    },
    {
      group: "DTLS server of Godwit",
      peer: "gnutls",
      name: `PSK with ${suite.name}: handshake and data`,
      async run(bench) {
        const server = await startEcho(bench, { key });
        const stranger = gnutlsPsk(bench, server.port, psk(suite));
        await server.next("opened");
        await stranger.expect(/Simple Client Mode/);
        await stranger.ask("hello", /^hello$/);
      },
    },
  ]),
  {
    group: "DTLS server of Godwit",
    peer: "gnutls",
    name: "PSK with CBC and without encrypt-then-MAC: refused",
    async run(bench) {
      const server = await startEcho(bench, { key });
      gnutlsPsk(bench, server.port, psk(CBC, ":%NO_ETM"));
      equal((await server.next("failed")).why, "no cipher suite in common");
    },
  },
  {
    group: "DTLS server of Godwit",
    peer: "gnutls",
    name: "PSK without the extended master secret: refused, and taken where the switch says so",
    async run(bench) {
      const strict = await startEcho(bench, { key });
      const refused = gnutlsPsk(bench, strict.port, psk(GCM, ":%NO_SESSION_HASH"));
      equal((await strict.next("failed")).why, "client has no extended master secret");
      await refused.expect(/Handshake failed/);
      const lax = await startEcho(bench, { key, ...WITHOUT_EMS });
      const taken = gnutlsPsk(bench, lax.port, psk(GCM, ":%NO_SESSION_HASH"));
      await lax.next("opened");
      await taken.expect(/Simple Client Mode/);
      await taken.ask("hello", /^hello$/);
    },
  },
  {
    group: "DTLS client of Godwit",
    peer: "gnutls",
    name: "PSK without the extended master secret: refused, and taken where the switch says so",
    async run(bench) {
      const port = await freePort();
      const passwords = await bench.file(`${IDENTITY}:${KEY}\n`);
      const server = bench.start("gnutls-serv", [
        ...["--udp", "-p", String(port), "--pskpasswd", passwords, "--echo"],
        ...["--priority", psk(GCM, ":%NO_SESSION_HASH")],
      ]);
      await server.expect(/listening on IPv4/);
      const suites = SUITES.filter(({ id }) => id === GCM.suite);
      const own = { port, identity: IDENTITY, key, suites };
      const strict = await startClient(bench, own);
      equal(await strict.fail(), "server has no extended master secret");
      const lax = await startClient(bench, { ...own, ...WITHOUT_EMS });
      await lax.connect("full");
      equal((await lax.ask("hello\n")).trim(), "hello");
    },
  },
].map((one) => ({ short: true, ...one }));

/** libcoap's own servers: CoAP over the certificates. */
const coapServers = [
  { build: "openssl", kind: "x509" },
  { build: "gnutls", kind: "x509" },
  { build: "gnutls", kind: "rpk" },
].map(({ build, kind }) => ({
  group: "DTLS client of Godwit",
  peer: `libcoap-${build}`,
  name: `${kind === "rpk" ? "raw public keys" : "X.509"} on both sides: a GET of CoAP is answered`,
  short: true,
  async run(bench) {
    const at = await pki();
    const port = await freePort();
    const proof =
      kind === "rpk"
        ? ["-M", at("server-raw.pem")]
        : [
            "-c",
            at("server-chain.pem"),
            "-j",
            at("server.key"),
            "-C",
            at("root.pem"),
            "-R",
            at("roots.pem"),
          ];
    const server = bench.start(`coap-server-${build}`, [
      ...["-A", "127.0.0.1", "-p", String(port - 1), "-v", "7", ...proof],
    ]);
    await server.expect(/created DTLS endpoint/);
    const one = await client(bench, kind, CCM_8, { port });
    await one.connect("full");
    const asked = {
      type: CON,
      mid: 7,
      token: Uint8Array.of(1),
      ...request(1, { path: ["time"] }),
    };
    one.sendBytes(encodeMessage(asked));
    const answer = decodeMessage(await one.receiveBytes());
    equal(formatCode(answer.code), "2.05");
    match(String(Buffer.from(answer.payload)), /\d\d:\d\d:\d\d/);
  },
}));

/** Resumption by ticket (RFC 5077): the session of an X.509 device is in the ticket, whole. */
const ticketCases = [
  {
    group: "DTLS server of Godwit",
    peer: "openssl",
    async run(bench) {
      const at = await pki();
      const server = await echo(bench, "x509", { tickets: true });
      const session = join(await bench.scratch(), "session");
      const start = (...more) =>
        bench.start("openssl", [
          ...["s_client", "-dtls1_2", "-connect", `127.0.0.1:${server.port}`, ...cipher(CCM_8)],
          ...["-cert", at("device.pem"), "-key", at("device.key"), "-cert_chain", at("inter.pem")],
          ...more,
        ]);
      const first = start("-sess_out", session);
      equal((await server.next("opened")).how, "full");
      await first.expect(/TLS session ticket:/);
      await first.ask("hello", /^hello$/);
      await first.end();
      const second = start("-sess_in", session);
      const { how, identity } = await server.next("opened");
      equal(how, "resumed");
      match(identity.subject, /interop-6$/);
      await second.ask("again", /^again$/);
    },
  },
  {
    group: "DTLS server of Godwit",
    peer: "gnutls",
    async run(bench) {
      const at = await pki();
      const server = await echo(bench, "x509", { tickets: true });
      const stranger = bench.start("gnutls-cli", [
        ...["--udp", "-p", String(server.port), "127.0.0.1", ...gnutlsProof(at, "x509")],
        ...["--priority", certified("x509", CCM_8), "--resume"],
      ]);
      equal((await server.next("opened")).how, "full");
      equal((await server.next("opened")).how, "resumed");
      await stranger.expect(/Simple Client Mode/);
      await stranger.ask("again", /^again$/);
    },
  },
  {
    group: "DTLS client of Godwit",
    peer: "openssl",
    async run(bench) {
      const port = await freePort();
      const server = await opensslServer(bench, port, CCM_8);
      const one = await client(bench, "x509", CCM_8, { port, tickets: true });
      equal((await one.connect("full")).how, "full");
      one.close();
      equal((await one.connect("resume")).how, "resumed");
      one.send("again\n");
      await server.expect(/^again$/);
    },
  },
  {
    group: "DTLS client of Godwit",
    peer: "gnutls",
    async run(bench) {
      const port = await freePort();
      await gnutlsServer(bench, port, "x509", CCM_8);
      const one = await client(bench, "x509", CCM_8, { port, tickets: true });
      equal((await one.connect("full")).how, "full");
      one.close();
      equal((await one.connect("resume")).how, "resumed");
      equal((await one.ask("again\n")).trim(), "again");
    },
  },
].map((one) => ({ name: "X.509 on both sides: resumption by ticket", short: true, ...one }));

const SMALL = { tuning: { mtus: [MTU] } };

/** Both sides cut their messages: certificates do not fit in one datagram. */
const fragmentCases = [
  {
    group: "DTLS server of Godwit",
    peer: "gnutls",
    async run(bench) {
      const at = await pki();
      const server = await echo(bench, "x509", SMALL);
      const stranger = bench.start("gnutls-cli", [
        ...["--udp", "-p", String(server.port), "127.0.0.1", ...gnutlsProof(at, "x509")],
        ...["--mtu", String(MTU), "--priority", certified("x509", CCM_8)],
      ]);
      await server.next("opened");
      await stranger.expect(/Simple Client Mode/);
      await stranger.ask("hello", /^hello$/);
    },
  },
  {
    group: "DTLS server of Godwit",
    peer: "openssl",
    async run(bench) {
      const at = await pki();
      const server = await echo(bench, "x509", SMALL);
      const stranger = bench.start("openssl", [
        ...["s_client", "-dtls1_2", "-connect", `127.0.0.1:${server.port}`, ...cipher(CCM_8)],
        ...["-cert", at("device.pem"), "-key", at("device.key"), "-cert_chain", at("inter.pem")],
        ...["-mtu", String(MTU)],
      ]);
      await server.next("opened");
      await stranger.ask("hello", /^hello$/);
    },
  },
  {
    group: "DTLS client of Godwit",
    peer: "gnutls",
    async run(bench) {
      const port = await freePort();
      await gnutlsServer(bench, port, "x509", CCM_8, "", ["--mtu", String(MTU)]);
      const one = await client(bench, "x509", CCM_8, { port, ...SMALL });
      await one.connect("full");
      equal((await one.ask("hello\n")).trim(), "hello");
    },
  },
].map((one) => ({
  name: `X.509 on both sides in datagrams of ${MTU} bytes: handshake and data`,
  short: true,
  ...one,
}));

export const dtlsCertificateCases = [
  ...fragmentCases,
  ...clients,
  ...servers,
  ...ticketCases,
  ...pskCases,
  ...coapServers,
];
