import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Device, psk } from "@godwit/client";
import {
  Code,
  OptionNumber,
  decodeMessage,
  encodeMessage,
  request,
  type Request,
} from "@godwit/coap";
import { LINES } from "./log-limit.ts";
import { Served } from "./crash/served.test-kit.ts";

const KEY = "000102030405060708090a0b0c0d0e0f";
const LIMIT = { timeout: 30_000 };

test(
  "godwit serve answers what strangers ask, logs few of them, raises no fault, and lets the next device in",
  LIMIT,
  async () => {
    const root = mkdtempSync(join(tmpdir(), "godwit-strangers-"));
    const served = await Served.start({
      data: root,
      dtls: true,
      nosec: false,
      args: ["--log-level", "warn"],
    });
    const stranger = createSocket("udp4");
    try {
      const path = { number: OptionNumber.UriPath, value: Uint8Array.of(0xff, 0xfe) };
      assert.equal(
        await answered(stranger, served, request(Code.GET, { options: [path] })),
        Code.BadOption,
      );
      const register = request(Code.POST, {
        path: "/rd",
        query: ["ep=nobody", "lt=60", "lwm2m=1.1"],
      });
      for (let n = 0; n < 10 * LINES; n++)
        assert.equal(await answered(stranger, served, register), Code.Forbidden);
      const empty = Uint8Array.of(22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
      const many = Buffer.concat(Array.from({ length: 107 }, () => empty));
      for (let n = 0; n < 100; n++) stranger.send(many, served.ports.coaps, "127.0.0.1");

      const credential = { kind: "psk", endpoint: "lamp", identity: "lamp", key: KEY };
      assert.equal((await served.call("POST", "/api/v1/credentials", credential)).status, 201);
      const server = `coaps://127.0.0.1:${served.ports.coaps}`;
      const lamp = new Device({
        endpoint: "lamp",
        server,
        security: psk("lamp", KEY),
        strategy: "cid",
      });
      const registered = new Promise<void>((resolve) => lamp.on("registered", () => resolve()));
      await lamp.start();
      await registered;
      await lamp.stop();
      const lines = served.said.trim().split("\n");
      assert.equal(lines.length, LINES, served.said);
      for (const line of lines) assert.match(line, /NoSec is switched off.*"refused"/);
      const { body } = await served.call("GET", "/metrics");
      assert.match(String(body), /godwit_faults_total 0\n/);
      assert.match(
        String(body),
        new RegExp(`godwit_refusals_total\\{code="4\\.03"\\} ${10 * LINES}\n`),
      );
      assert.match(String(body), /godwit_strays\{reason="strayPlain"\} 800\n/);
    } finally {
      stranger.close();
      await served.end("SIGTERM");
      rmSync(root, { recursive: true, force: true });
    }
  },
);

let mid = 0;

/** The code of the answer. */
async function answered(stranger: Socket, { ports }: Served, asked: Request): Promise<number> {
  mid += 1;
  const bytes = encodeMessage({ type: 0, mid, token: Uint8Array.of(mid >>> 8, mid), ...asked });
  const heard = once(stranger, "message");
  stranger.send(bytes, ports.coap, "127.0.0.1");
  const [answer] = (await heard) as [Uint8Array];
  return decodeMessage(answer).code;
}
