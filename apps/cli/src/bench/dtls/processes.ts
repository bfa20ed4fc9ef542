import { fork, spawn, type ChildProcess } from "node:child_process";
import { createSocket } from "node:dgram";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { toHex } from "@godwit/base";
import { ROOM, benchFile, ended, installed, pidOf } from "../child-process.ts";
import { usageOf, type Usage } from "../proc.ts";
import { KEY, type DtlsAnswer, type DtlsAsk } from "./asks.ts";

/** A process of ours that answers one ask after the other. */
export class DtlsHelper {
  readonly #child: ChildProcess;

  /** `root`: a checkout in place of this one. */
  constructor(execArgv: readonly string[] = [], root?: string) {
    const own = fileURLToPath(new URL("./child.js", import.meta.url));
    this.#child = fork(root === undefined ? own : benchFile(root, "dtls/child.js"), {
      execArgv: [...execArgv],
      serialization: "advanced",
    });
  }

  get usage(): Usage {
    return usageOf(pidOf(this.#child));
  }

  ask<T extends DtlsAsk>(ask: T): Promise<DtlsAnswer[T["type"]]> {
    const child = this.#child;
    return new Promise((resolve, reject) => {
      const ended = (): void => reject(new Error("a process of the benchmark ended by itself"));
      child.once("exit", ended);
      child.once("message", (message: { result: DtlsAnswer[T["type"]]; fault?: string }) => {
        child.off("exit", ended);
        if (message.fault === undefined) resolve(message.result);
        else reject(new Error(message.fault));
      });
      child.send(ask);
    });
  }

  stop(): Promise<void> {
    return ended(this.#child, () => this.#child.disconnect());
  }
}

/** A server under test. */
export type DtlsSubject = {
  readonly port: number;
  readonly usage: () => Usage;
  readonly stop: () => Promise<void>;
};

/** Ours, or an echo on our sockets. */
export async function securedSubject(echo = false, root?: string): Promise<DtlsSubject> {
  const helper = new DtlsHelper(ROOM, root);
  const { port } = await helper.ask({ type: "serve", echo });
  return { port, usage: () => helper.usage, stop: () => helper.stop() };
}

/** libcoap's example server with OpenSSL (Debian: libcoap3-bin); undefined where it is not installed. */
export async function libcoapDtlsSubject(): Promise<DtlsSubject | undefined> {
  const command = LIBCOAP.map(installed).find((file) => file !== undefined);
  if (command === undefined) return undefined;
  const plain = await freePair();
  const key = new TextDecoder().decode(KEY);
  const child = spawn(
    command,
    ["-A", "127.0.0.1", "-p", String(plain), "-d", "10", "-v", "0", "-k", key],
    { stdio: "ignore" },
  );
  return {
    port: plain + 1,
    usage: () => usageOf(pidOf(child)),
    stop: () => ended(child, () => child.kill()),
  };
}

/**
 * Californium with Connection ID, by the peer of the interoperation suite (`scripts/interop/install.sh leshan`); undefined
 * where that is not installed.
 */
export async function californiumSubject(): Promise<DtlsSubject | undefined> {
  const java = installed("java");
  if (java === undefined || !existsSync(join(CALIFORNIUM, "classes/CaliforniumDtls.class")))
    return undefined;
  const port = await bound(0);
  const path = ["classes", "lib/*"].map((part) => join(CALIFORNIUM, part)).join(delimiter);
  const child = spawn(java, ["-cp", path, "CaliforniumDtls", String(port), toHex(KEY)], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  await new Promise<void>((resolve, reject) => {
    child.once("exit", () => reject(new Error("Californium ended by itself")));
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      if (text.includes("listening")) resolve();
    });
  });
  return {
    port,
    usage: () => usageOf(pidOf(child)),
    stop: () => ended(child, () => child.kill()),
  };
}

/** A port that is free, and so is the one after it. */
async function freePair(): Promise<number> {
  for (;;) {
    const first = await bound(0);
    const second = await bound(first + 1).catch(() => undefined);
    if (second !== undefined) return first;
  }
}

async function bound(wanted: number): Promise<number> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject);
    socket.bind({ port: wanted, address: "127.0.0.1" }, resolve);
  });
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}

const CALIFORNIUM = fileURLToPath(new URL("../../../../../.peers/java", import.meta.url));
const LIBCOAP = ["coap-server-openssl", "coap-server-gnutls"];
