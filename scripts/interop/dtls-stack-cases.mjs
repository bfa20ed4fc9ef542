// DTLS alone, with PSK: strangers' stacks with ours, and what each can do of resumption and Connection ID.
import { equal, ok } from "node:assert/strict";
import { join } from "node:path";
import { freePort } from "./bench.mjs";
import { startClient, startEcho } from "./godwit-dtls.mjs";
import { PION } from "./peers.mjs";
import { startRelay } from "./rebind-relay.mjs";

/** Needs a newer Go than distributions have. */
const NEEDS_GO = "pion";
const IDENTITY = "interop-5";
const KEY = "00112233445566778899aabbccddeeff";
const key = Uint8Array.from(Buffer.from(KEY, "hex"));
const OPENSSL_CIPHER = ["-cipher", "PSK-AES128-CCM8:@SECLEVEL=0"];
const PRIORITY = "NORMAL:-VERS-ALL:+VERS-DTLS1.2:-KX-ALL:+PSK:-CIPHER-ALL:+AES-128-CCM-8";

/** Strangers that listen: the process, once it does. */
const SERVERS = {
  openssl: async (bench, port) => {
    const words = ["-dtls1_2", "-accept", `127.0.0.1:${port}`, "-nocert", "-psk", KEY];
    const more = ["-psk_identity", IDENTITY, ...OPENSSL_CIPHER];
    const server = bench.start("openssl", ["s_server", ...words, ...more]);
    await server.expect(/^ACCEPT/);
    return server;
  },
  gnutls: async (bench, port) => {
    const passwords = await bench.file(`${IDENTITY}:${KEY}\n`);
    const words = ["--udp", "-p", String(port), "--pskpasswd", passwords, "--priority", PRIORITY];
    const server = bench.start("gnutls-serv", [...words, "--echo"]);
    await server.expect(/listening on IPv4/);
    return server;
  },
  pion: async (bench, port) => {
    const server = bench.start(PION, ["server", String(port), IDENTITY, KEY]);
    await server.expect(/^listening/);
    return server;
  },
};

const clients = [
  {
    peer: "openssl",
    name: "PSK with AES_128_CCM_8: handshake and data",
    async run(bench) {
      const port = await freePort();
      const server = await SERVERS.openssl(bench, port);
      const client = await startClient(bench, { port, identity: IDENTITY, key });
      equal((await client.connect("full")).how, "full");
      client.send("hello\n");
      await server.expect(/^hello$/);
      server.say("a line of its own");
      equal((await client.receive()).trim(), "a line of its own");
    },
  },
  ...["gnutls", "pion"].map((peer) => ({
    peer,
    name: "PSK with AES_128_CCM_8: handshake and data",
    async run(bench) {
      const port = await freePort();
      await SERVERS[peer](bench, port);
      const client = await startClient(bench, { port, identity: IDENTITY, key });
      equal((await client.connect("full")).how, "full");
      equal((await client.ask("hello\n")).trim(), "hello");
    },
  })),
  {
    peer: "pion",
    name: "PSK with Connection ID through a NAT that rebinds: the next record is answered",
    async run(bench) {
      const port = await freePort();
      await SERVERS.pion(bench, port);
      const relay = await startRelay({ server: { host: "127.0.0.1", port } });
      bench.after(() => relay.close());
      const client = await startClient(bench, {
        port: relay.port,
        identity: IDENTITY,
        key,
        cid: true,
      });
      await client.connect("full");
      equal(await client.ask("before"), "before");
      const { up, down } = relay.counts;
      relay.rebind();
      equal(await client.ask("after"), "after");
      equal(relay.counts.up - up, 1);
      ok(relay.counts.down - down >= 1);
    },
  },
].map((one) => ({ group: "DTLS client of Godwit", short: one.peer !== NEEDS_GO, ...one }));

const servers = [
  {
    peer: "openssl",
    name: "PSK with AES_128_CCM_8: handshake and data, then resumption by session id",
    async run(bench) {
      const server = await startEcho(bench, { key });
      const session = join(await bench.scratch(), "session");
      const start = (...more) =>
        bench.start("openssl", [
          ...["s_client", "-dtls1_2", "-connect", `127.0.0.1:${server.port}`],
          ...["-psk_identity", IDENTITY, "-psk", KEY, ...OPENSSL_CIPHER, "-no_ticket", ...more],
        ]);
      const first = start("-sess_out", session);
      equal((await server.next("opened")).how, "full");
      await first.expect(/Extended master secret: yes/);
      await first.ask("hello", /^hello$/);
      await first.end();
      const second = start("-sess_in", session);
      equal((await server.next("opened")).how, "resumed");
      await second.expect(/Extended master secret: yes/);
      await second.ask("again", /^again$/);
    },
  },
  {
    peer: "gnutls",
    name: "PSK with AES_128_CCM_8: handshake and data, then resumption by session id",
    async run(bench) {
      const server = await startEcho(bench, { key });
      const client = bench.start("gnutls-cli", [
        ...["--udp", "-p", String(server.port), "127.0.0.1", "--pskusername", IDENTITY],
        ...["--pskkey", KEY, "--priority", `${PRIORITY}:%NO_TICKETS`, "--resume"],
      ]);
      equal((await server.next("opened")).how, "full");
      equal((await server.next("opened")).how, "resumed");
      await client.expect(/This is a resumed session/);
      await client.expect(/Simple Client Mode/);
      await client.ask("again", /^again$/);
    },
  },
  {
    peer: "pion",
    name: "PSK with Connection ID through a NAT that rebinds: the next record is one datagram up and one down",
    async run(bench) {
      const server = await startEcho(bench, { key });
      const relay = await startRelay({ server: { host: "127.0.0.1", port: server.port } });
      bench.after(() => relay.close());
      const client = bench.start(PION, ["client", String(relay.port), IDENTITY, KEY]);
      await client.expect(/^connected/);
      equal((await server.next("opened")).how, "full");
      await client.ask("before", /^answer before$/);
      const { up, down } = relay.counts;
      relay.rebind();
      await client.ask("after", /^answer after$/);
      await server.next("moved");
      equal(relay.counts.up - up, 1);
      equal(relay.counts.down - down, 1);
    },
  },
].map((one) => ({ group: "DTLS server of Godwit", short: one.peer !== NEEDS_GO, ...one }));

export const dtlsStackCases = [...clients, ...servers];
