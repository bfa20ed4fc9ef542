import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { CON, Code, OptionNumber, encodeMessage, formatCode, request } from "@godwit/coap";
import type { RefusalView } from "@godwit/server";
import { answerCookie, hello, noise, protectedBy } from "./bench/flood/datagrams.ts";
import { Served } from "./crash/served.test-kit.ts";

const GODWIT = fileURLToPath(new URL("../bin/godwit.mjs", import.meta.url));
const [KEY, OTHER] = ["000102030405060708090a0b0c0d0e0f", "ff0102030405060708090a0b0c0d0e0f"];
const OSCORE = { senderId: "01", recipientId: "02", masterSecret: KEY };

type Case = {
  readonly what: string;
  readonly device: (served: Served, directory: string) => readonly string[];
  readonly nosec?: boolean;
  readonly found: Partial<RefusalView>;
  /** What the device says of it. */
  readonly says?: RegExp;
};

const secured =
  (identity: string, key: string, endpoint = "safe") =>
  ({ ports }: Served): readonly string[] => [
    ...["--server", `coaps://127.0.0.1:${ports.coaps}`, "--endpoint", endpoint],
    ...["--psk-identity", identity, "--psk-key", key],
  ];
const underOscore =
  (more: object) =>
  ({ server }: Served, directory: string): readonly string[] => {
    const file = join(directory, "oscore.json");
    writeFileSync(file, JSON.stringify({ ...OSCORE, ...more, derivation: "negotiated" }));
    return ["--server", server, "--endpoint", "shielded", "--oscore", file];
  };

const CASES: readonly Case[] = [
  {
    what: "an unknown identity",
    device: secured("nobody", KEY),
    found: { stage: "handshake", reason: "unknownIdentity", identity: "psk:nobody" },
    says: /does not answer the handshake after our key: wrong key, identity unknown/,
  },
  {
    what: "a wrong key",
    device: secured("s1", OTHER),
    found: { stage: "handshake", reason: "wrongKey", identity: "psk:s1", endpoint: "safe" },
    says: /does not answer the handshake after our key: wrong key, identity unknown/,
  },
  {
    what: "another's endpoint name",
    device: secured("s1", KEY, "other"),
    found: {
      stage: "registration",
      reason: "endpointMismatch",
      code: "4.00",
      identity: "psk:s1",
      endpoint: "other",
      rule: `Register names the endpoint "other", and the credential belongs to "safe"`,
    },
    says: /refused: 4\.00 "the credential is that of ep=safe"/,
  },
  {
    what: "no proof where NoSec is off",
    device: ({ server }) => ["--server", server, "--endpoint", "plain"],
    nosec: false,
    found: { stage: "registration", reason: "noSec", code: "4.03", endpoint: "plain" },
    says: /refused: 4\.03 "NoSec is switched off"/,
  },
  {
    what: "no proof for an endpoint with credentials",
    device: ({ server }) => ["--server", server, "--endpoint", "safe"],
    found: {
      stage: "registration",
      reason: "endpointHasCredentials",
      code: "4.03",
      endpoint: "safe",
    },
    says: /refused: 4\.03 "this endpoint has credentials"/,
  },
  {
    what: "an unknown OSCORE sender id",
    device: underOscore({ senderId: "0909" }),
    found: { stage: "oscore", reason: "unknownContext", identity: "oscore:0909" },
  },
  {
    what: "a wrong OSCORE master secret",
    device: underOscore({ masterSecret: OTHER }),
    found: { stage: "oscore", reason: "forged", identity: "oscore:01", endpoint: "shielded" },
    says: /the server refuses us without OSCORE: it has other keys/,
  },
];

for (const { what, device, nosec = true, found, says } of CASES) {
  test(`${what} is explained within seconds, in the log, by the API and by the device`, async () => {
    const directory = mkdtempSync(join(tmpdir(), "godwit-refusals-"));
    const file = join(directory, "credentials.json");
    const shielded = { kind: "oscore", endpoint: "shielded", senderId: "02", recipientId: "01" };
    writeFileSync(
      file,
      JSON.stringify([
        { kind: "psk", endpoint: "safe", identity: "s1", key: KEY },
        { ...shielded, masterSecret: KEY, derivation: "negotiated" },
      ]),
    );
    const args = ["--credentials", file, "--log-level", "warn"];
    const served = await Served.start({ data: join(directory, "data"), dtls: true, nosec, args });
    const running = spawn(process.execPath, [GODWIT, "device", ...device(served, directory)]);
    try {
      let said = "";
      running.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
      const entry = await until(10_000, async () => {
        const { body } = await served.call("GET", "/api/v1/refusals?limit=10");
        return (body as { items: RefusalView[] }).items.find(
          ({ reason }) => reason === found.reason,
        );
      });
      assert.deepEqual({ ...entry, ...found }, entry);
      assert.match(entry.address, /^127\.0\.0\.1:\d+$/);
      assert.ok(entry.rule.length > 10 && entry.advice.length > 10);
      const { body } = await served.call("GET", `/api/v1/refusals?reason=${found.reason}`);
      assert.ok(((body as { counts: Record<string, number> }).counts[entry.reason] ?? 0) >= 1);
      const line = await until(2_000, async () =>
        served.said
          .split("\n")
          .filter((text) => text.startsWith("{"))
          .map((text) => JSON.parse(text) as Record<string, unknown>)
          .find(({ reason }) => reason === found.reason),
      );
      for (const name of ["endpoint", "identity", "address", "code", "rule", "advice"] as const) {
        assert.equal(line[name], entry[name], name);
      }
      assert.ok(!served.said.includes(KEY) && !served.said.includes(OTHER));
      if (says !== undefined) await until(8_000, async () => (says.test(said) ? true : undefined));
    } finally {
      await ended(running);
      await served.end("SIGTERM");
      rmSync(directory, { recursive: true, force: true });
    }
  });
}

const FLOOD = 1_000;

test("a flood of refused requests is counted to the last, hides nobody, and none of its bodies is kept", async () => {
  const data = mkdtempSync(join(tmpdir(), "godwit-refusals-"));
  const args = ["--log-level", "warn"];
  const served = await Served.start({ data, dtls: true, nosec: false, args });
  const [stranger, other] = [await bound("127.0.0.2"), await bound("127.0.0.3")];
  try {
    const { coap } = served.ports;
    const ask = async (socket: Socket, n: number, endpoint: string): Promise<string> => {
      const answer = once(socket, "message");
      const first = uploading(n, endpoint);
      socket.send(first, coap, "127.0.0.1");
      const [bytes] = (await answer) as [Buffer];
      return formatCode(bytes[1] ?? 0);
    };
    for (let n = 0; n < FLOOD; n++) assert.equal(await ask(stranger, n, `made-up-${n}`), "4.03");
    assert.equal(await ask(other, FLOOD, "honest"), "4.03");
    const { body } = await served.call("GET", "/api/v1/refusals?limit=1000");
    const { items, counts } = body as { items: RefusalView[]; counts: Record<string, number> };
    assert.deepEqual(counts, { noSec: FLOOD + 1 });
    assert.equal(items[0]?.endpoint, "honest");
    assert.equal(items.length, 51, "50 of one source, and the other");
    const metrics = String((await served.call("GET", "/metrics")).body);
    assert.match(
      metrics,
      new RegExp(`not_admitted_total{stage="registration",reason="noSec"} ${FLOOD + 1}\\n`),
    );
    assert.match(metrics, new RegExp(`refusals_total{code="4.03"} ${FLOOD + 1}\\n`));
    await served.end("SIGTERM");
    const logged = served.said
      .split("\n")
      .filter((text) => text.startsWith("{"))
      .map((text) => JSON.parse(text) as { reason?: string; suppressed?: number })
      .filter(({ reason }) => reason === "noSec");
    assert.ok(logged.length < 20);
    const all = logged.reduce((sum, { suppressed = 1 }) => sum + suppressed, 0);
    assert.equal(all, FLOOD + 1, "what was written and what was left out is all there was");
  } finally {
    stranger.close();
    other.close();
    await served.end("SIGTERM");
    rmSync(data, { recursive: true, force: true });
  }
});

test("1 000 of an unknown OSCORE context, and 30 failed handshakes, are counted to the last, and hide nobody", async () => {
  const directory = mkdtempSync(join(tmpdir(), "godwit-refusals-"));
  const file = join(directory, "credentials.json");
  const shielded = { kind: "oscore", endpoint: "shielded", senderId: "02", recipientId: "01" };
  const credentials = [
    { ...shielded, masterSecret: KEY, derivation: "negotiated" },
    { kind: "psk", endpoint: "safe", identity: "s1", key: KEY },
  ];
  writeFileSync(file, JSON.stringify(credentials));
  const args = ["--credentials", file, "--log-level", "warn"];
  const served = await Served.start({ data: join(directory, "data"), dtls: true, args });
  const [loud, quiet] = [await bound("127.0.0.2"), await bound("127.0.0.3")];
  try {
    const { coap, coaps } = served.ports;
    const counted = (name: string, times: number) =>
      until(10_000, async () => {
        const { body } = await served.call("GET", "/api/v1/refusals?limit=1000");
        const { counts, items } = body as { counts: Record<string, number>; items: RefusalView[] };
        return counts[name] === times ? items : undefined;
      });
    for (let n = 0; n < FLOOD; n++) {
      loud.send(protectedBy(n, { kid: Uint8Array.of(n >> 8, n, 9) }), coap, "127.0.0.1");
      if (n % 100 === 99) await counted("unknownContext", n + 1); // no more at once than a socket holds
    }
    quiet.send(protectedBy(1, { kid: Uint8Array.of(0xab, 0xcd) }), coap, "127.0.0.1");
    const after = await counted("unknownContext", FLOOD + 1);
    assert.equal(after[0]?.identity, "oscore:abcd");
    assert.ok(after[0]?.address.startsWith("127.0.0.3:"));
    for (let n = 0; n < 30; n++) {
      const socket = await bound("127.0.0.2"); // no alert that an earlier one got is taken for an answer
      const first = hello({ n, extensions: noise(n, 7) });
      socket.send(first, coaps, "127.0.0.1");
      const [answer] = (await once(socket, "message")) as [Buffer];
      const second = answerCookie(first, answer);
      assert.ok(second !== undefined, "a HelloVerifyRequest");
      socket.send(second, coaps, "127.0.0.1");
      await counted("protocol", n + 1);
      socket.close();
    }
    const metrics = String((await served.call("GET", "/metrics")).body);
    assert.match(metrics, /not_admitted_total\{stage="oscore",reason="unknownContext"\} 1001\n/);
    assert.match(metrics, /not_admitted_total\{stage="handshake",reason="protocol"\} 30\n/);
    assert.match(metrics, /handshakes_failed_total 30\n/);
  } finally {
    loud.close();
    quiet.close();
    await served.end("SIGTERM");
    rmSync(directory, { recursive: true, force: true });
  }
});

/** The first block of a Register whose list of objects goes on. */
function uploading(n: number, endpoint: string): Uint8Array {
  const { code, options, payload } = request(Code.POST, {
    path: "/rd",
    query: [`ep=${endpoint}`, "lt=600", "lwm2m=1.1", "b=U"],
    options: [{ number: OptionNumber.Block1, value: Uint8Array.of(0x08) }],
    payload: new Uint8Array(16).fill(0x2f),
  });
  const token = Uint8Array.of(n >> 8, n);
  return encodeMessage({ type: CON, code, mid: n & 0xffff, token, options, payload });
}

async function bound(host: string): Promise<Socket> {
  const socket = createSocket("udp4");
  socket.bind(0, host);
  await once(socket, "listening");
  return socket;
}

/** What `look` finds, looked for until `most` ms have passed. */
async function until<T>(most: number, look: () => Promise<T | undefined>): Promise<T> {
  for (const began = performance.now(); ; await new Promise((done) => setTimeout(done, 50))) {
    const found = await look();
    if (found !== undefined) return found;
    assert.ok(performance.now() - began < most, `nothing within ${most} ms`);
  }
}

async function ended(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  if (child.exitCode === null && child.signalCode === null) await once(child, "close");
}
