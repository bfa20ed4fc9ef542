import { fork, spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { toHex } from "@godwit/base";
import { kernelDrops } from "@godwit/io";
import { credentialJson } from "../context-peers.ts";
import { ROOM, ended, pidOf } from "../child-process.ts";
import { usageOf, type Usage } from "../proc.ts";
import {
  FIXED,
  KEY,
  NEGOTIATED,
  identityOf,
  type FloodAnswer,
  type FloodAsk,
  type Ports,
} from "./asks.ts";
import { EXCHANGING, contextOf, shaker } from "./devices.ts";
import { SESSIONS, squatter } from "./strangers.ts";

/** A process with devices or strangers; it may be asked several things at once. */
export class FloodProcess {
  readonly #child: ChildProcess;
  readonly #asked = new Map<number, { done(result: unknown): void; failed(fault: Error): void }>();
  #last = 0;

  constructor() {
    this.#child = fork(fileURLToPath(new URL("./child.js", import.meta.url)), {
      serialization: "advanced",
    });
    this.#child.on("message", ({ id, result, fault }: Reply) => {
      const asked = this.#asked.get(id);
      this.#asked.delete(id);
      if (fault === undefined) asked?.done(result);
      else asked?.failed(new Error(fault));
    });
    this.#child.once("exit", () => {
      for (const asked of this.#asked.values())
        asked.failed(new Error("a process of the benchmark ended by itself"));
    });
  }

  ask<T extends FloodAsk>(ask: T): Promise<FloodAnswer[T["type"]]> {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, {
        done: (result) => resolve(result as FloodAnswer[T["type"]]), // child.ts answers each with its own
        failed: reject,
      });
      this.#child.send({ id, ask });
    });
  }

  stop(): Promise<void> {
    return ended(this.#child, () => this.#child.disconnect());
  }
}

type Reply = { readonly id: number; readonly result?: unknown; readonly fault?: string };

/** `godwit serve` as an operator starts it: CoAP and CoAP over DTLS, a password, a store on disk, a file of credentials. */
export type Served = {
  readonly ports: Ports;
  readonly usage: () => Usage;
  /** Datagrams that the kernel threw away before the server read them. */
  readonly lost: () => number;
  /** Lines that it has logged. */
  readonly lines: () => number;
  readonly stop: () => Promise<void>;
};

export async function serveFlooded(directory: string, devices: number): Promise<Served> {
  const credentials = join(directory, "credentials.json");
  writeFileSync(credentials, JSON.stringify(credentialsFor(devices)), { mode: 0o600 });
  const log = join(directory, "log");
  const logged = openSync(log, "a");
  const child = spawn(
    process.execPath,
    [
      ...ROOM,
      fileURLToPath(new URL("../../../bin/godwit.mjs", import.meta.url)),
      "serve",
      ...["--data", join(directory, "data"), "--credentials", credentials],
      ...["--coap", ANY, "--coaps", ANY, "--http", ANY],
    ],
    { stdio: ["ignore", "pipe", logged] },
  );
  closeSync(logged);
  const ports = await new Promise<Ports>((resolve, reject) => {
    let text = "";
    child.once("exit", () =>
      reject(new Error(`godwit serve ended by itself: ${readFileSync(log, "utf8").slice(-500)}`)),
    );
    child.stdout?.setEncoding("utf8").on("data", (piece: string) => {
      text += piece;
      const [coap, coaps] = [/^CoAP\s+\S+:(\d+)/m, /^CoAPs\s+\S+:(\d+)/m].map((line) =>
        Number(line.exec(text)?.[1]),
      );
      if (text.includes("Ready") && coap !== undefined && coaps !== undefined)
        resolve({ coap, coaps });
    });
  });
  const addresses = [ports.coap, ports.coaps].map((port) => ({ host: "127.0.0.1", port }));
  return {
    ports,
    usage: () => usageOf(pidOf(child)),
    lost: () => kernelDrops(addresses) ?? 0,
    lines: () =>
      statSync(log).size === 0 ? 0 : readFileSync(log, "latin1").split("\n").length - 1,
    stop: () => ended(child, () => child.kill()),
  };
}

function credentialsFor(devices: number): object[] {
  const psk = (identity: string): object => ({
    kind: "psk",
    endpoint: identity,
    identity,
    key: toHex(KEY),
  });
  const named = (count: number, name: (n: number) => string): object[] =>
    Array.from({ length: count }, (_, n) => psk(name(n)));
  return [
    ...named(devices, identityOf),
    ...named(EXCHANGING, shaker),
    ...named(SESSIONS, squatter),
    ...[FIXED, ...Array.from({ length: EXCHANGING }, (_, i) => contextOf(i))].map((n) => ({
      ...credentialJson(n),
      endpoint: `oscore-${n}`,
    })),
    { ...credentialJson(NEGOTIATED), endpoint: `oscore-${NEGOTIATED}`, derivation: "negotiated" },
  ];
}

const ANY = "127.0.0.1:0";
