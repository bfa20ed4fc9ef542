import type { Socket } from "node:dgram";
import type { FloodAnswer, FloodAsk, Flooded, Ports } from "./asks.ts";
import { CidClient } from "./cid-client.ts";
import { answerCookie, hello } from "./datagrams.ts";
import { SERVER, bindAt } from "./socket.ts";
import type { Known, Sort } from "./sort.ts";
import { SORTS } from "./sorts.ts";

//   gather   sockets at many addresses of 127.0.0.0/8, at many ports of one of them, sessions of our own whose addresses are known
//   flood    datagrams of one sort, made ahead, by the clock; what the server answers is read, and thrown away or replied to

/** Who sends what nobody wants. */
export class Strangers {
  #ports: Ports = { coap: 0, coaps: 0 };
  #known: Known | undefined;
  readonly #many: Sender[] = [];
  readonly #host: Sender[] = [];
  readonly #halfOpen: Sender[] = [];
  readonly #sessions: CidClient[] = [];
  /** Datagrams made so far. */
  #made = 0;

  async gather(ask: Extract<FloodAsk, { type: "gather" }>): Promise<FloodAnswer["gather"]> {
    this.#ports = ask.ports;
    this.#known = ask.known;
    for (let n = 0; n < ask.sources; n++) {
      const sender = await Sender.at(`127.${1 + (n >>> 8)}.${n & 0xff}.7`);
      if (sender !== undefined) this.#many.push(sender);
    }
    for (let n = 0; n < ask.hostPorts; n++) {
      const sender = await Sender.at("127.0.0.66");
      if (sender !== undefined) this.#host.push(sender);
    }
    for (let n = 0; n < HALF_OPEN; n++) {
      const sender = await Sender.at(`127.0.1.${1 + n}`);
      if (sender !== undefined) this.#halfOpen.push(sender);
    }
    for (let n = 0; n < SESSIONS; n++) {
      const session = await CidClient.open(ask.ports.coaps, squatter(n));
      if (session !== undefined && (await session.handshake("full", PATIENCE)))
        this.#sessions.push(session);
    }
    return { sources: this.#many.length, hostPorts: this.#host.length };
  }

  async flood({
    sort: name,
    seconds,
    perSecond,
  }: Extract<FloodAsk, { type: "flood" }>): Promise<Flooded> {
    const sort = SORTS.find((one) => one.name === name);
    if (sort === undefined || this.#known === undefined) throw new Error(`no sort ${name}`);
    const known = this.#known;
    const port = this.#ports[sort.port];
    const count = Math.min(MADE, Math.ceil(seconds * perSecond));
    // None is a repetition of an earlier flood's: the server would answer that from memory.
    const first = this.#made;
    this.#made += count;
    const made = Array.from({ length: count }, (_, i) => sort.datagram(known, first + i));
    const senders = this.#sendersOf(sort);
    if (sort.from === "halfOpen") await this.#begin(port);
    let replies = 0;
    for (const sender of senders) {
      sender.heard = (answer) => {
        const reply = sender.sent && sort.reply?.(sender.sent, answer);
        if (reply === undefined) return;
        replies += 1;
        sender.socket?.send(reply, port, SERVER);
      };
    }
    const before = process.cpuUsage();
    const began = performance.now();
    let sent = 0;
    for (let now = 0; now < seconds * 1_000; now = performance.now() - began) {
      const due = Math.min(Math.floor((now * perSecond) / 1_000) - replies, sent + BURST);
      for (; sent < due; sent++) {
        const sender = senders[sent % senders.length]!; // within
        sender.send(made[sent % count]!, port); // within
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const elapsed = (performance.now() - began) / 1_000;
    const { user, system } = process.cpuUsage(before);
    for (const sender of senders) sender.heard = undefined;
    return { sent: sent + replies, elapsed, cpu: (user + system) / 1e6 };
  }

  #sendersOf({ from }: Sort): readonly Sender[] {
    switch (from) {
      case "many":
        return this.#many;
      case "host":
        return this.#host;
      case "halfOpen":
        return this.#halfOpen;
      case "known":
        return this.#sessions.map((session) => new Sender(undefined, session));
    }
  }

  /** Hellos with their cookies, and then no more: the handshakes wait. */
  async #begin(port: number): Promise<void> {
    this.#halfOpen.forEach((sender, n) => {
      const first = hello({ n });
      sender.heard = (answer) => {
        const second = answerCookie(first, answer);
        if (second !== undefined) sender.socket?.send(second, port, SERVER);
      };
      sender.send(first, port);
    });
    await new Promise((resolve) => setTimeout(resolve, BEGINNING));
  }
}

/** One address that datagrams come from. */
class Sender {
  readonly socket: Socket | undefined;
  readonly #session: CidClient | undefined;
  sent: Uint8Array | undefined;
  heard: ((answer: Uint8Array) => void) | undefined;

  constructor(socket: Socket | undefined, session?: CidClient) {
    this.socket = socket;
    this.#session = session;
  }

  static async at(host: string): Promise<Sender | undefined> {
    let sender: Sender | undefined;
    const socket = await bindAt(host, (bytes) => sender?.heard?.(bytes));
    sender = socket && new Sender(socket);
    return sender;
  }

  send(bytes: Uint8Array, port: number): void {
    this.sent = bytes;
    if (this.#session === undefined) this.socket?.send(bytes, port, SERVER);
    else this.#session.abuse(bytes);
  }
}

/** Identity of a session whose address strangers write from. */
export function squatter(n: number): string {
  return `squatter-${n}`;
}

/** Sessions of their own, and handshakes that they let wait. */
export const SESSIONS = 8;
const HALF_OPEN = 20;
/** ms until the server has answered them. */
const BEGINNING = 200;
/** Datagrams made ahead, at most. */
const MADE = 4_096;
/** What may be sent in one turn, after a pause of the machine for one. */
const BURST = 1_000;
/** ms */
const PATIENCE = 20_000;
