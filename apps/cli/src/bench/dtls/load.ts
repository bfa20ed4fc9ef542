import { createSocket, type Socket, type SocketOptions } from "node:dgram";
import type { RunFigures } from "../loop-process.ts";
import { messageOf } from "../messages.ts";
import { percentiles } from "../statistics.ts";
import type { DtlsAsk } from "./asks.ts";
import { EchoClient } from "./echo-client.ts";
import type { LoadClient } from "./load-client.ts";
import { SecuredClient } from "./secured-client.ts";

// As many clients as the run has turns are busy at once; each has a UDP port of its own, on which it may have a session
// with each server under test. The clients are the stack's own, and their processor time is not measured.

/** The clients of every server under test. */
export class SecuredLoad {
  readonly #sockets: { readonly socket: Socket; readonly byServer: Map<number, LoadClient> }[] = [];
  readonly #sessions = new Map<number, LoadClient[]>();
  readonly #shakers = new Map<number, SecuredClient[]>();

  /** Opens sessions with the server at `port`; says how many there are, fewer where the system grants no more sockets. */
  async open(ask: Extract<DtlsAsk, { type: "open" }>): Promise<number> {
    const clients: SecuredClient[] = [];
    for (let n = 0; n < ask.sessions; n++) {
      const client = await this.#client(n, ask.port, `device-${ask.port}-${n}`, ask.connectionId);
      if (client === undefined) break;
      clients.push(client);
    }
    this.#sessions.set(ask.port, clients);
    let next = 0;
    await this.#run(clients, Infinity, OPENING, (run) => {
      const client = clients[next++];
      if (client === undefined) return false;
      run.begin(client, (now) => client.connect("full", now));
      return true;
    });
    return clients.length;
  }

  /** As `open`, for an echo: there is nothing to open but sockets. */
  async meet({ port, clients }: Extract<DtlsAsk, { type: "meet" }>): Promise<number> {
    const met: LoadClient[] = [];
    for (let n = 0; n < clients; n++) {
      const place = await this.#place(n);
      if (place === undefined) break;
      const client = new EchoClient(place.socket, port);
      place.byServer.set(port, client);
      met.push(client);
    }
    this.#sessions.set(port, met);
    return met.length;
  }

  /** One request over the first session. */
  async prepare(port: number): Promise<number> {
    const message = messageOf({ kind: "put", path: "/hello", payload: "world" });
    const { refused } = await this.#ask(port, 1, Infinity, message, 1);
    return refused;
  }

  pairs({ port, turns, seconds }: Extract<DtlsAsk, { type: "pairs" }>): Promise<RunFigures> {
    return this.#ask(port, turns, seconds, messageOf({ kind: "get", path: "/hello" }), Infinity);
  }

  async handshakes(ask: Extract<DtlsAsk, { type: "handshakes" }>): Promise<RunFigures> {
    const { port, how, goodbye } = ask;
    let clients = this.#shakers.get(port);
    if (clients === undefined) {
      clients = [];
      // Sockets that have no session with this server: a session there would be replaced.
      const first = this.#sessions.get(port)?.length ?? 0;
      for (let n = 0; n < ask.clients; n++) {
        const client = await this.#client(first + n, port, `shaker-${port}-${n}`, false);
        if (client !== undefined) clients.push(client);
      }
      this.#shakers.set(port, clients);
    }
    const free = [...clients];
    return await this.#run(clients, ask.seconds, ask.clients, (run) => {
      const client = free.shift();
      if (client === undefined) return false;
      run.begin(client, (now) => {
        if (goodbye && client.dtls.connected) client.close(now);
        client.connect(how, now);
      });
      run.after = (done) => free.push(done);
      return true;
    });
  }

  #ask(
    port: number,
    turns: number,
    seconds: number,
    message: Uint8Array,
    times: number,
  ): Promise<RunFigures> {
    const clients = this.#sessions.get(port) ?? [];
    let ring = 0;
    let begun = 0;
    return this.#run(clients, seconds, Math.min(turns, clients.length), (run) => {
      if (begun >= times) return false;
      let client = clients[ring]!; // within
      while (client.waiting) client = clients[(ring = (ring + 1) % clients.length)]!; // fewer turns than clients
      ring = (ring + 1) % clients.length;
      begun += 1;
      run.message = message;
      run.begin(client, (now) => client.ask(message, now));
      return true;
    });
  }

  #run<C extends LoadClient>(
    clients: readonly C[],
    seconds: number,
    turns: number,
    next: (run: Run<C>) => boolean,
  ): Promise<RunFigures> {
    return new Promise((resolve, reject) => {
      const run = new Run<C>(clients, seconds, next, resolve, reject);
      for (let turn = 0; turn < turns; turn++) run.next();
    });
  }

  async #client(
    index: number,
    server: number,
    identity: string,
    connectionId: boolean,
  ): Promise<SecuredClient | undefined> {
    const place = await this.#place(index);
    if (place === undefined) return undefined;
    const { socket, byServer } = place;
    const path = {
      local: { host: HOST, port: socket.address().port },
      remote: { host: HOST, port: server },
    };
    const client = new SecuredClient(socket, path, identity, connectionId);
    byServer.set(server, client);
    return client;
  }

  /** The socket of that number, made if there is none; undefined where this process may open no more. */
  async #place(
    index: number,
  ): Promise<{ readonly socket: Socket; readonly byServer: Map<number, LoadClient> } | undefined> {
    if (this.#sockets[index] === undefined) {
      const byServer = new Map<number, LoadClient>();
      const socket = await bind((bytes, from) => {
        byServer.get(from)?.receive(bytes, performance.now());
      });
      if (socket === undefined) return undefined;
      this.#sockets[index] = { socket, byServer };
    }
    return this.#sockets[index];
  }
}

class Run<C extends LoadClient> {
  readonly #clients: readonly C[];
  readonly #deadline: number;
  readonly #next: (run: Run<C>) => boolean;
  readonly #resolve: (figures: RunFigures) => void;
  readonly #reject: (fault: Error) => void;
  readonly #started = performance.now();
  readonly #tick: NodeJS.Timeout;
  readonly #latencies: number[] = [];
  #waiting = 0;
  #heard = this.#started;
  #refused = 0;
  #retransmitted = 0;
  /** Asked again when no answer comes. */
  message: Uint8Array | undefined;
  after: ((client: C) => void) | undefined;

  constructor(
    clients: readonly C[],
    seconds: number,
    next: (run: Run<C>) => boolean,
    resolve: (figures: RunFigures) => void,
    reject: (fault: Error) => void,
  ) {
    this.#clients = clients;
    this.#deadline = this.#started + seconds * 1_000;
    this.#next = next;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#tick = setInterval(() => this.#again(), RETRY_EVERY);
    const failed = (_client: LoadClient, why: string) => this.#fail(`a handshake failed: ${why}`);
    for (const client of clients) {
      client.events = {
        opened: () => this.#done(client, OK),
        failed,
        answered: (_client, code) => this.#done(client, code),
      };
    }
  }

  begin(_client: C, start: (now: number) => void): void {
    this.#waiting += 1;
    start(performance.now());
  }

  next(): void {
    const over = performance.now() >= this.#deadline || !this.#next(this);
    if (over && this.#waiting === 0) this.#finish();
  }

  #done(client: C, code: number): void {
    this.#heard = performance.now();
    this.#latencies.push(this.#heard - client.askedAt);
    if (code >>> 5 !== 2) this.#refused += 1;
    this.#waiting -= 1;
    this.after?.(client);
    this.next();
  }

  /** What may have been lost: DTLS repeats its own flights, a request is asked again here. */
  #again(): void {
    const now = performance.now();
    for (const client of this.#clients) {
      if (!client.waiting) continue;
      client.wake(now);
      if (this.message === undefined || now - client.askedAt < RETRY_AFTER) continue;
      this.#retransmitted += 1;
      client.askedAt = now;
      client.again(this.message, now);
    }
    if (now - this.#heard > SILENCE) this.#fail("the server does not answer");
  }

  #end(): void {
    clearInterval(this.#tick);
    for (const client of this.#clients) client.events = undefined;
  }

  #fail(why: string): void {
    this.#end();
    this.#reject(new Error(why));
  }

  #finish(): void {
    this.#end();
    const elapsed = (performance.now() - this.#started) / 1_000;
    const [p50 = 0, p99 = 0] = percentiles(Float64Array.from(this.#latencies), [50, 99]);
    this.#resolve({
      completed: this.#latencies.length,
      refused: this.#refused,
      retransmitted: this.#retransmitted,
      elapsed,
      p50,
      p99,
    });
  }
}

/** Undefined where this process may open no more files. */
async function bind(
  receive: (bytes: Uint8Array, from: number) => void,
): Promise<Socket | undefined> {
  const socket = createSocket({
    type: "udp4",
    lookup: (host: string, _options: unknown, found: Found) => found(null, host, 4),
  } as SocketOptions);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind({ port: 0, address: HOST }, resolve);
    });
  } catch (error) {
    socket.close();
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EMFILE" || code === "ENFILE" || code === "EADDRINUSE") return undefined;
    throw error;
  }
  socket.on("error", () => {}); // a server that is gone answers with ICMP; the retry finds out
  socket.on("message", (bytes, { port }) => receive(bytes, port));
  return socket;
}

type Found = (error: null, address: string, family: number) => void;

const HOST = "127.0.0.1";
/** Handshakes at once while sessions are opened. */
const OPENING = 16;
/** 2.01, what an opened session counts as. */
const OK = 0x41;
/** ms */
const RETRY_AFTER = 1_000;
const RETRY_EVERY = 200;
/** After this long without any answer the server is given up. */
const SILENCE = 15_000;
