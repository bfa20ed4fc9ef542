// A1, A2, A4 with real processes, the real clock and a store on disk: restarts, revocation, replacement, NoSec switched off.

import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { sqliteStore } from "@godwit/io";
import { Served, serveUntilExit, type Ports } from "./crash/served.test-kit.ts";

const GODWIT = fileURLToPath(new URL("../bin/godwit.mjs", import.meta.url));
const KEY = "000102030405060708090a0b0c0d0e0f";
const OTHER = `ff${KEY.slice(2)}`;
const LIMIT = { timeout: 180_000 };

/** How a device proves itself, and what is said of it to both sides. */
type Kind = {
  readonly name: string;
  readonly isSecure: boolean;
  readonly id: string | undefined;
  readonly credential: (key: string) => object | undefined;
  readonly args: (folder: string, key: string) => readonly string[];
};

const psk = (name: string, ...more: readonly string[]): Kind => ({
  name,
  isSecure: true,
  id: "psk:d1",
  credential: (key) => ({ kind: "psk", endpoint: "d1", identity: "d1", key }),
  args: (_folder, key) => ["--psk-identity", "d1", "--psk-key", key, ...more],
});
const SECURED: readonly Kind[] = [
  psk("DTLS with Connection ID", "--cid"),
  psk("DTLS with resumption"),
  {
    name: "OSCORE",
    isSecure: false,
    id: "oscore:01",
    credential: (key) => ({
      kind: "oscore",
      endpoint: "d1",
      senderId: "02",
      recipientId: "01",
      masterSecret: key,
    }),
    args(folder, key) {
      const file = join(folder, `oscore-${key}.json`);
      writeFileSync(file, JSON.stringify({ senderId: "01", recipientId: "02", masterSecret: key }));
      return ["--oscore", file];
    },
  },
];
const OPEN: Kind = {
  name: "NoSec",
  isSecure: false,
  id: undefined,
  credential: () => undefined,
  args: () => [],
};

suite("restarts with real processes", { concurrency: 4 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "godwit-restarts-"));
  const stories: Story[] = [];
  after(async () => {
    for (const story of stories) await story.end();
    rmSync(folder, { recursive: true });
  });
  const begin = async (kind: Kind): Promise<Story> => {
    const story = new Story(kind, join(folder, String(stories.length)));
    stories.push(story);
    await story.serve(["--nosec"]);
    await story.give(KEY);
    await story.device(KEY, "registered at");
    return story;
  };

  for (const kind of [OPEN, ...SECURED])
    test(
      `A1: ${kind.name}: killed, stopped, its device started anew each time: it is read and observed, in one row`,
      LIMIT,
      async () => {
        const story = await begin(kind);
        for (const signal of ["SIGKILL", "SIGTERM"] as const) {
          await story.stop(signal);
          await story.serve(["--nosec"]);
          await story.device(KEY, "registered at", true);
          assert.equal(await story.call("POST", "/devices/d1/3303/0/5700?observe&wait=20"), 200);
          assert.equal(await story.call("GET", "/devices/d1/3303/0/5701?wait=20"), 200);
        }
        await story.stop("SIGTERM");
        const rows = story.rows();
        for (const table of ["registration", "touch", "observation"])
          assert.equal(rows.get(table), 1, table);
        assert.ok((rows.get("dtls.association") ?? 0) <= 1);
        assert.ok((rows.get("protected") ?? 0) <= 1);
        assert.equal(rows.get("quarantine") ?? 0, 0);
      },
    );

  for (const kind of SECURED) {
    test(
      `A2: ${kind.name}: a revoked key stays out over restarts, also where its name gets another key`,
      LIMIT,
      async () => {
        const story = await begin(kind);
        await story.stop("SIGTERM");
        await story.serve(["--nosec"]);
        assert.equal(await story.call("GET", "/devices/d1/3303/0/5701?wait=20"), 200);
        assert.equal(
          await story.call("DELETE", `/credentials/${encodeURIComponent(kind.id ?? "")}`),
          204,
        );
        await story.stop("SIGKILL");
        const rows = story.rows();
        for (const table of OF_A_DEVICE) assert.equal(rows.get(table) ?? 0, 0, table);
        await story.serve(["--nosec"]);
        await story.give(OTHER);
        await story.isOut();
        await story.device(OTHER, "registered at");
        assert.equal(await story.call("GET", "/devices/d1/3303/0/5701?wait=20"), 200);
      },
    );

    test(
      `A2: ${kind.name}: a key that a credential file replaces at a start stays out`,
      LIMIT,
      async () => {
        const story = await begin(kind);
        await story.stop("SIGKILL");
        const file = join(story.folder, "credentials.json");
        writeFileSync(file, JSON.stringify([kind.credential(OTHER)]));
        for (let i = 0; i < 2; i++) {
          await story.serve(["--credentials", file]);
          await story.isOut();
          await story.stop(i === 0 ? "SIGKILL" : "SIGTERM");
        }
        await story.serve(["--credentials", file]);
        await story.device(OTHER, "registered at");
        assert.equal(await story.call("GET", "/devices/d1/3303/0/5701?wait=20"), 200);
      },
    );
  }

  test(
    "A4: NoSec switched off at a restart: the device is refused, and its registration is gone",
    LIMIT,
    async () => {
      const story = await begin(OPEN);
      await story.stop("SIGTERM");
      await story.serve([]);
      assert.equal(await story.call("GET", "/devices/d1"), 404);
      await story.device(KEY, "NoSec is switched off");
      await story.stop("SIGTERM");
      const rows = story.rows();
      for (const table of OF_A_DEVICE) assert.equal(rows.get(table), 0, table);
    },
  );

  test(
    "J2: with the master key away, or another, the start is refused in words, and nothing is made in its place",
    LIMIT,
    async () => {
      const story = await begin(SECURED[0]!);
      await story.stop("SIGTERM");
      const file = join(story.data, "master-key");
      rmSync(file);
      for (const words of [
        /master-key is missing, .* put it back/,
        /opens none of the \d+ sealed records/,
      ]) {
        const { code, said } = await serveUntilExit({ data: story.data, dtls: true });
        assert.notEqual(code, 0);
        assert.match(said, words);
        writeFileSync(file, "0".repeat(64), { mode: 0o600 });
      }
    },
  );
});

class Story {
  readonly folder: string;
  readonly data: string;
  readonly #kind: Kind;
  #served: Served | undefined;
  #ports: Ports | undefined;
  #device: ChildProcess | undefined;

  constructor(kind: Kind, folder: string) {
    mkdirSync(folder);
    this.folder = folder;
    this.data = join(folder, "data");
    this.#kind = kind;
  }

  async serve(args: readonly string[]): Promise<void> {
    const { data } = this;
    const ports = this.#ports === undefined ? {} : { ports: this.#ports };
    this.#served = await Served.start({ data, dtls: true, nosec: false, args, ...ports });
    this.#ports = this.#served.ports;
  }

  /** Ends the server; the device goes on. */
  async stop(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    await this.#served?.end(signal);
    this.#served = undefined;
  }

  /** The HTTP status of a request to the API. */
  async call(method: string, path: string, body?: unknown): Promise<number> {
    const answer = await this.#served?.call(method, `/api/v1${path}`, body);
    return answer?.status ?? 0;
  }

  async give(key: string): Promise<void> {
    const credential = this.#kind.credential(key);
    if (credential !== undefined)
      assert.equal(await this.call("POST", "/credentials", credential), 201);
  }

  /** Starts the device, in place of the one before; resolves once it has said these words. */
  async device(key: string, words: string, isNew = false): Promise<void> {
    await this.#endDevice();
    const state = join(this.folder, "state");
    if (isNew || key === OTHER) rmSync(state, { recursive: true, force: true });
    const { isSecure } = this.#kind;
    const port = isSecure ? this.#ports?.coaps : this.#ports?.coap;
    const server = `${isSecure ? "coaps" : "coap"}://127.0.0.1:${port}`;
    const child = spawn(
      process.execPath,
      [
        ...[GODWIT, "device", "--server", server, "--endpoint", "d1", "--state", state],
        ...["--keep-alive", "15", ...this.#kind.args(this.folder, key)],
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    this.#device = child;
    let said = "";
    await new Promise<void>((resolve, reject) => {
      const hear = (chunk: Buffer): void => {
        said += chunk.toString();
        if (said.includes(words)) resolve();
      };
      child.stdout.on("data", hear);
      child.stderr.on("data", hear);
      child.once("exit", () => reject(new Error(`the device ended:\n${said}`)));
      setTimeout(() => reject(new Error(`${words} was not said:\n${said}`)), 60_000).unref();
    });
  }

  /** The device with the old key and what it kept tries, and is nobody. */
  async isOut(): Promise<void> {
    await this.device(KEY, " towards ");
    for (let i = 0; i < 5; i++) {
      assert.equal(await this.call("GET", "/devices/d1"), 404);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }

  /** Rows of each table, once the server has ended. */
  rows(): ReadonlyMap<string, number> {
    const store = sqliteStore(join(this.data, "godwit.db"));
    const rows = new Map<string, number>();
    for (const table of [...OF_A_DEVICE, "quarantine"])
      rows.set(table, [...store.load(table)].length);
    void store.close();
    return rows;
  }

  async end(): Promise<void> {
    await this.#endDevice();
    await this.stop("SIGKILL");
  }

  async #endDevice(): Promise<void> {
    const child = this.#device;
    this.#device = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.removeAllListeners("exit");
    child.kill("SIGKILL");
    await once(child, "exit");
  }
}

const OF_A_DEVICE = [
  "dtls.association",
  "dtls.session",
  "protected",
  "oscore",
  "registration",
  "touch",
  "session",
  "observation",
];
