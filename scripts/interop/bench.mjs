// What one case runs in: processes that are ended with it, free ports, scratch files.
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export class Bench {
  #endings = [];

  /** Has `ending` called when the case is over; the last one first. */
  after(ending) {
    this.#endings.push(ending);
  }

  async close() {
    for (const ending of this.#endings.reverse()) await ending();
  }

  /** A process that runs on beside the case. */
  start(command, args, env = {}) {
    const peer = new Peer(command, args, env);
    this.after(() => peer.kill());
    return peer;
  }

  /** Runs a command to its end; its stdout as bytes, the rest for messages. */
  async run(command, args, { timeout = 15_000, env = {} } = {}) {
    const child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.after(() => void child.kill("SIGKILL"));
    const timer = setTimeout(() => child.kill("SIGKILL"), timeout);
    const [body, complaints, code] = await Promise.all([
      collect(child.stdout),
      collect(child.stderr),
      new Promise((done, fail) => child.once("close", done).once("error", fail)),
    ]);
    clearTimeout(timer);
    return { code, body, text: String(body).trim(), complaints: String(complaints).trim() };
  }

  async scratch() {
    const directory = await mkdtemp(join(tmpdir(), "godwit-interop-"));
    this.after(() => rm(directory, { recursive: true, force: true }));
    return directory;
  }

  async file(bytes) {
    const path = join(await this.scratch(), "body");
    await writeFile(path, bytes);
    return path;
  }
}

/** A UDP port that is free, below those that the system hands out to whoever asks for any. */
export async function freePort() {
  for (;;) {
    const port = 20_000 + randomInt(12_000);
    if (await isFree(port)) return port;
  }
}

function isFree(port) {
  return new Promise((done) => {
    const socket = createSocket("udp4").once("error", () => done(false));
    socket.bind(port, () => socket.close(() => done(true)));
  });
}

/** A running process that tells what happens in lines and takes orders in lines. */
class Peer {
  lines = [];
  #seen = 0;
  #woken = () => {};
  #child;
  #ended;

  constructor(command, args, env) {
    this.#child = spawn(command, args, { env: { ...process.env, ...env } });
    this.#ended = new Promise((done) => {
      this.#child.once("close", (code, signal) => done(code ?? signal));
      this.#child.once("error", (fault) => done(fault.message));
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        this.lines.push(line);
        this.#woken();
      });
    }
    this.#child.stdin.on("error", () => {});
    void this.#ended.then((code) => {
      this.lines.push(`(ended: ${code})`);
      this.#woken();
    });
  }

  say(line) {
    this.#child.stdin.write(`${line}\n`);
  }

  /** The first match of `pattern` in a line after the one that matched last. */
  async expect(pattern, timeout = 10_000) {
    const deadline = Date.now() + timeout;
    for (;;) {
      while (this.#seen < this.lines.length) {
        const match = pattern.exec(this.lines[this.#seen++]);
        if (match) return match;
      }
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`no line like ${pattern} in:\n${this.lines.join("\n")}`);
      await new Promise((done) => {
        const timer = setTimeout(done, left);
        this.#woken = () => {
          clearTimeout(timer);
          done();
        };
      });
    }
  }

  /** Sends an order and takes the line that answers it. */
  ask(line, pattern, timeout) {
    this.say(line);
    return this.expect(pattern, timeout);
  }

  /** Asks the process to end in good order; its exit code, or the signal that ended it. */
  async end(signal = "SIGTERM") {
    this.#child.kill(signal);
    return this.#ended;
  }

  async kill() {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}

async function collect(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}
