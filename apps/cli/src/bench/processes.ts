import { fork, spawn, type ChildProcess } from "node:child_process";
import { createSocket } from "node:dgram";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ChildAsk } from "./child.ts";
import type { LoopAnswer, LoopAsk } from "./loop-process.ts";
import { OWN_ROOT, ROOM, benchFile, ended, installed, pidOf } from "./child-process.ts";
import { usageOf, type Usage } from "./proc.ts";
import type { Flood } from "./spoofed.ts";
import type { Idle } from "./idle.ts";
import type { Retained } from "./retained.ts";

/** A process of our own that answers one ask after the other. */
export class Helper {
  readonly #child: ChildProcess;

  /** `root`: a checkout in place of this one. */
  constructor(execArgv: readonly string[] = [], root?: string) {
    const own = fileURLToPath(new URL("./child.js", import.meta.url));
    this.#child = fork(root === undefined ? own : benchFile(root, "child.js"), {
      execArgv: [...execArgv],
      serialization: "advanced",
    });
  }

  get usage(): Usage {
    return usageOf(pidOf(this.#child));
  }

  ask(ask: { readonly type: "serve" }): Promise<{ readonly port: number }>;
  ask(ask: Extract<ChildAsk, { type: "retain" }>): Promise<Retained>;
  ask(ask: Extract<ChildAsk, { type: "flood" }>): Promise<Flood>;
  ask(ask: Extract<ChildAsk, { type: "idle" }>): Promise<Idle>;
  ask<T extends LoopAsk>(ask: T): Promise<Extract<LoopAnswer, { type: AnswerOf<T["type"]> }>>;
  ask(ask: ChildAsk): Promise<unknown> {
    const child = this.#child;
    return new Promise((resolve, reject) => {
      const ended = (): void => reject(new Error("a process of the benchmark ended by itself"));
      child.once("exit", ended);
      child.once("message", (message: { result?: unknown; fault?: string }) => {
        child.off("exit", ended);
        if (message.fault === undefined) resolve(message.result);
        else reject(new Error(message.fault));
      });
      child.send(ask);
    });
  }

  async stop(): Promise<void> {
    await ended(this.#child, () => this.#child.disconnect());
  }
}

type AnswerOf<T> = T extends "open" ? "opened" : T extends "once" ? "done" : "ran";

/** In a process that can collect its garbage when asked. */
export async function inHelper<T>(use: (helper: Helper) => Promise<T>): Promise<T> {
  const helper = new Helper(["--expose-gc"]);
  try {
    return await use(helper);
  } finally {
    await helper.stop();
  }
}

export async function stopAll(subjects: Subject[]): Promise<void> {
  await Promise.all(subjects.splice(0).map((subject) => subject.stop()));
}

/** A server under test. */
export type Subject = {
  readonly port: number;
  readonly usage: () => Usage;
  readonly stop: () => Promise<void>;
};

export async function plainSubject(root?: string): Promise<Subject> {
  const helper = new Helper(ROOM, root);
  const { port } = await helper.ask({ type: "serve" });
  return { port, usage: () => helper.usage, stop: () => helper.stop() };
}

/** `godwit serve` as everybody starts it, on free ports. `credentials`: a file of them, and nobody without one. */
export async function serveSubject(
  directory: string,
  credentials?: string,
  root: string = OWN_ROOT,
): Promise<Subject> {
  const command = join(root, "apps/cli/bin/godwit.mjs");
  const child = spawn(
    process.execPath,
    [
      ...ROOM,
      command,
      "serve",
      ...(credentials === undefined ? ["--nosec"] : ["--credentials", credentials]),
      "--data",
      directory,
      "--coap",
      ANY,
      "--http",
      ANY,
      "--log-level",
      "warn",
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const port = await new Promise<number>((resolve, reject) => {
    let text = "";
    child.once("exit", () => reject(new Error("godwit serve ended by itself")));
    child.stdout.setEncoding("utf8").on("data", (piece: string) => {
      text += piece;
      const [, coap] = /^CoAP\s+\S+:(\d+)/m.exec(text) ?? [];
      if (coap !== undefined && text.includes("Ready")) resolve(Number(coap));
    });
  });
  return { port, usage: () => usageOf(pidOf(child)), stop: () => ended(child, () => child.kill()) };
}

/** libcoap's example server without DTLS (Debian: libcoap3-bin); undefined where it is not installed. */
export async function libcoapSubject(): Promise<Subject | undefined> {
  const command = installed("coap-server-notls");
  if (command === undefined) return undefined;
  const port = await freePort();
  const child = spawn(command, ["-A", "127.0.0.1", "-p", String(port), "-d", "10", "-v", "0"], {
    stdio: "ignore",
  });
  return { port, usage: () => usageOf(pidOf(child)), stop: () => ended(child, () => child.kill()) };
}

async function freePort(): Promise<number> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind({ port: 0, address: "127.0.0.1" }, resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}

const ANY = "127.0.0.1:0";
