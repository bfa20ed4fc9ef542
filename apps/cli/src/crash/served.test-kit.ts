// `godwit serve` as a process of its own, the way an operator runs it.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** `coaps` is 0 without DTLS; any port unless given. */
export type Ports = { readonly coap: number; readonly coaps?: number; readonly http: number };

export type ServedOptions = {
  readonly data: string;
  /** Ports of an earlier run; chosen by the system unless given. */
  readonly ports?: Ports;
  /** Listens for DTLS too. */
  readonly dtls?: boolean;
  readonly args?: readonly string[];
  /** Takes devices that prove nothing; true unless given. */
  readonly nosec?: boolean;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
};

export type Answered = { readonly status: number; readonly body: unknown };

/** A server that has said "Ready". */
export class Served {
  readonly ports: Ports;
  /** ms from its start, the runtime's included, to "Ready". */
  readonly readyAfter: number;
  readonly #run: Run;
  readonly #password: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 16 });

  private constructor(run: Run, ports: Ports, readyAfter: number, data: string) {
    this.#run = run;
    this.ports = ports;
    this.readyAfter = readyAfter;
    this.#password = readFileSync(join(data, "admin-password"), "utf8").trim();
  }

  /** Rejects with what it said where it ends before it is ready. */
  static async start(options: ServedOptions): Promise<Served> {
    const began = performance.now();
    const run = new Run(options);
    const ports = { coap: 0, coaps: 0, http: 0 };
    for await (const line of createInterface(run.child.stdout!)) {
      const port = Number(/:(\d+)(?: |$)/.exec(line)?.[1]);
      if (line.startsWith("CoAP ")) ports.coap = port;
      if (line.startsWith("CoAPs ")) ports.coaps = port;
      if (line.startsWith("Page")) ports.http = port;
      if (line !== "Ready") continue;
      run.child.stdout!.resume();
      return new Served(run, ports, performance.now() - began, options.data);
    }
    throw new Error(`godwit serve did not start: ${run.said}`);
  }

  get server(): string {
    return `coap://127.0.0.1:${this.ports.coap}`;
  }

  get pid(): number {
    return this.#run.child.pid ?? 0;
  }

  /** What it wrote on standard error. */
  get said(): string {
    return this.#run.said;
  }

  /** Resolves with its exit status once it is gone by itself. */
  get ended(): Promise<number | null> {
    return this.#run.ended;
  }

  /** Signals the process; resolves with its exit status once it is gone. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.#run.child.kill(signal);
    const code = await this.#run.ended;
    this.#agent.destroy();
    return code;
  }

  /** One request to the API. Rejects where the server died before its answer was whole. */
  call(method: string, path: string, body?: unknown): Promise<Answered> {
    return new Promise((resolve, reject) => {
      const headers: Record<string, string> = { authorization: `Bearer ${this.#password}` };
      if (body !== undefined) headers["content-type"] = "application/json";
      const options = { agent: this.#agent, port: this.ports.http, method, path, headers };
      const asked = request({ host: "127.0.0.1", ...options }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.on("error", reject);
        answer.on("close", () => {
          if (!answer.complete) return reject(new Error("the answer was cut off"));
          const text = Buffer.concat(chunks).toString();
          resolve({ status: answer.statusCode ?? 0, body: text === "" ? undefined : parse(text) });
        });
      });
      asked.on("error", reject);
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

/** Runs `godwit serve` to its end: for starts that must fail. */
export async function serveUntilExit(
  options: ServedOptions,
): Promise<{ readonly code: number | null; readonly said: string }> {
  const run = new Run(options);
  run.child.stdout!.resume();
  const timer = setTimeout(() => run.child.kill("SIGKILL"), 20_000);
  const code = await run.ended;
  clearTimeout(timer);
  return { code, said: run.said };
}

class Run {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  said = "";

  constructor({ data, ports, dtls = false, nosec = true, args = [], env = {} }: ServedOptions) {
    const listen = ["--coap", `127.0.0.1:${ports?.coap ?? 0}`];
    listen.push("--http", `127.0.0.1:${ports?.http ?? 0}`);
    if (dtls) listen.push("--coaps", `127.0.0.1:${ports?.coaps ?? 0}`);
    const line = [GODWIT, "serve", "--log-level", "error", "--data", data, ...listen];
    if (nosec) line.push("--nosec");
    this.child = spawn(process.execPath, [...line, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    this.child.stderr!.on("data", (chunk: Buffer) => (this.said += chunk.toString()));
    this.ended = once(this.child, "close").then(([code]) => code as number | null);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

const GODWIT = fileURLToPath(new URL("../../bin/godwit.mjs", import.meta.url));
