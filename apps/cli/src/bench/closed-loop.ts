import { createSocket, type Socket, type SocketOptions } from "node:dgram";

// Clients that each ask, wait for the answer, and ask again when it is their turn:
//
//   a turn is free ──> next client in the ring sends ──> its answer frees the turn
//                            │ no answer for RETRY_AFTER
//                            └──> sends the same again
//
// Each client is a UDP port of its own, so a session of its own to the server. Fewer turns than clients keep the
// kernel's receive buffer out of the measurement: what it threw away would be asked again a second later.

export type LoopOptions = {
  readonly port: number;
  /** The first so many clients take part. */
  readonly clients: number;
  /** Requests under way at once, over all clients. */
  readonly turns: number;
  /** One CON request per client, token of 4 bytes; message id and token are written into it each time it is sent. */
  readonly messages: readonly Uint8Array[];
  /** How long to go on; `once`: until each client has had one answer. */
  readonly until: "once" | number;
  /** Between these messages and the wire; none unless given. */
  readonly protection?: LoopProtection;
  /** Takes the answer as it was before protection. */
  readonly onAnswer?: (client: number, answer: Uint8Array) => void;
};

/** Protects each request and its answer; both keep message id and token. */
export type LoopProtection = {
  seal(client: number, message: Uint8Array): Uint8Array;
  /** @throws Error for an answer that does not verify: then there is nothing to measure */
  open(client: number, answer: Uint8Array): Uint8Array;
};

export type LoopResult = {
  readonly completed: number;
  /** Answers other than class 2. */
  readonly refused: number;
  readonly retransmitted: number;
  /** s from the first request to the last answer. */
  readonly elapsed: number;
  /** ms of each request answered. */
  readonly latencies: Float64Array;
};

export class ClosedLoop {
  readonly #sockets: Socket[] = [];
  /** Next number of each client: its low half is the message id. */
  readonly #numbers: Uint32Array;
  readonly #waiting: Uint8Array;
  /** What each client waits for the answer of, as it was sent. */
  readonly #sent: Uint8Array[] = [];
  readonly #askedAt: Float64Array;
  #run: Run | undefined;

  constructor(most: number) {
    this.#numbers = new Uint32Array(most);
    this.#waiting = new Uint8Array(most);
    this.#askedAt = new Float64Array(most);
  }

  /** Opens sockets until there are `count`; says how many there are, fewer where the system grants no more. */
  async open(count: number): Promise<number> {
    while (this.#sockets.length < count) {
      const socket = await bind(this.#sockets.length);
      if (socket === undefined) break;
      const client = this.#sockets.length;
      socket.on("message", (bytes) => this.#answered(client, bytes));
      this.#sockets.push(socket);
    }
    return this.#sockets.length;
  }

  /** Rejects if the server falls silent. */
  go(options: LoopOptions): Promise<LoopResult> {
    return new Promise((resolve, reject) => {
      const run = new Run(options, resolve, reject);
      this.#run = run;
      run.retry = setInterval(() => this.#again(run), RETRY_EVERY);
      for (let turn = 0; turn < Math.min(options.turns, options.clients); turn++) this.#next(run);
    });
  }

  close(): void {
    for (const socket of this.#sockets.splice(0)) socket.close();
  }

  #next(run: Run): void {
    const { clients, messages } = run.options;
    if (run.over()) return this.#finish(run);
    let client = run.ring;
    while (this.#waiting[client] === 1) client = (client + 1) % clients; // there are no more turns than clients
    run.ring = (client + 1) % clients;
    run.begun += 1;
    const bytes = messages[client]!; // one for each client
    this.#numbers[client]! += 1;
    const number = this.#numbers[client]!;
    bytes[2] = number >>> 8;
    bytes[3] = number;
    for (let i = 0; i < TOKEN; i++) bytes[4 + i] = number >>> (24 - 8 * i);
    const sent = run.options.protection?.seal(client, bytes) ?? bytes;
    this.#sent[client] = sent;
    this.#waiting[client] = 1;
    run.waiting += 1;
    this.#askedAt[client] = performance.now();
    this.#sockets[client]!.send(sent, run.options.port, HOST);
  }

  #answered(client: number, bytes: Uint8Array): void {
    const run = this.#run;
    if (run === undefined || this.#waiting[client] !== 1) return;
    if (bytes.length < 4 + TOKEN || bytes[0] !== ACK_WITH_TOKEN) return;
    const number = ((bytes[4]! << 24) | (bytes[5]! << 16) | (bytes[6]! << 8) | bytes[7]!) >>> 0; // eight at least
    if (number !== this.#numbers[client]) return;
    this.#waiting[client] = 0;
    run.waiting -= 1;
    run.heard = performance.now();
    let answer = bytes;
    try {
      answer = run.options.protection?.open(client, bytes) ?? bytes;
    } catch (fault) {
      this.#end();
      return run.fail(fault instanceof Error ? fault : new Error(String(fault)));
    }
    run.note(run.heard - this.#askedAt[client]!, answer[1]!); // eight at least
    run.options.onAnswer?.(client, answer);
    this.#next(run);
  }

  #again(run: Run): void {
    const late = performance.now() - RETRY_AFTER;
    for (let client = 0; client < run.options.clients; client++) {
      if (this.#waiting[client] !== 1 || this.#askedAt[client]! > late) continue;
      run.retransmitted += 1;
      this.#askedAt[client] = performance.now();
      this.#sockets[client]!.send(this.#sent[client]!, run.options.port, HOST); // it waits, so it was sent
    }
    if (performance.now() - run.heard > SILENCE) {
      this.#end();
      run.fail(new Error(`the server at port ${run.options.port} does not answer`));
    } else if (run.over()) this.#finish(run);
  }

  #finish(run: Run): void {
    if (run.waiting > 0 && performance.now() < run.deadline + PATIENCE) return;
    this.#end();
    run.finish();
  }

  #end(): void {
    this.#waiting.fill(0);
    this.#run = undefined;
  }
}

class Run {
  readonly options: LoopOptions;
  readonly deadline: number;
  readonly #resolve: (result: LoopResult) => void;
  readonly #reject: (fault: Error) => void;
  readonly #started = performance.now();
  #latencies = new Float64Array(4_096);
  #completed = 0;
  #refused = 0;
  retransmitted = 0;
  ring = 0;
  begun = 0;
  waiting = 0;
  /** When the last answer came. */
  heard = this.#started;
  retry: NodeJS.Timeout | undefined;

  constructor(
    options: LoopOptions,
    resolve: (result: LoopResult) => void,
    reject: (fault: Error) => void,
  ) {
    this.options = options;
    this.deadline = options.until === "once" ? Infinity : this.#started + options.until * 1_000;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  over(): boolean {
    if (this.options.until === "once") return this.begun >= this.options.clients;
    return performance.now() >= this.deadline;
  }

  note(latency: number, code: number): void {
    if (code >>> 5 !== 2) this.#refused += 1;
    if (this.#completed === this.#latencies.length) {
      const more = new Float64Array(2 * this.#completed);
      more.set(this.#latencies);
      this.#latencies = more;
    }
    this.#latencies[this.#completed++] = latency;
  }

  fail(fault: Error): void {
    clearInterval(this.retry);
    this.#reject(fault);
  }

  finish(): void {
    clearInterval(this.retry);
    this.#resolve({
      completed: this.#completed,
      refused: this.#refused,
      retransmitted: this.retransmitted,
      elapsed: (performance.now() - this.#started) / 1_000,
      latencies: this.#latencies.subarray(0, this.#completed),
    });
  }
}

/** Undefined where this process may open no more files. */
async function bind(index: number): Promise<Socket | undefined> {
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
    if (index > 0 && (code === "EMFILE" || code === "ENFILE" || code === "EADDRINUSE"))
      return undefined;
    throw error;
  }
  socket.on("error", () => {}); // a server that is gone answers with ICMP; the retry finds out
  return socket;
}

type Found = (error: null, address: string, family: number) => void;

const HOST = "127.0.0.1";
const TOKEN = 4;
const ACK_WITH_TOKEN = 0x64;
/** ms */
const RETRY_AFTER = 1_000;
const RETRY_EVERY = 200;
/** How long the last answers are waited for. */
const PATIENCE = 2_000;
/** After this long without any answer the server is given up. */
const SILENCE = 15_000;
