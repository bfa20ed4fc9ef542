import { seededRng, toHex, type Instant, type Path, type SessionId } from "@godwit/base";
import { CoapNode, type CoapNodeInput, type CoapNodeOutput } from "../coap-node.ts";
import type { EndpointOutput } from "../endpoint-events.ts";
import { decodeMessage } from "../message-codec.ts";
import { ACK, CON, NON, type Message, type Request, type Response } from "../message.ts";
import { Code, formatCode } from "../codes.ts";
import { response } from "../options.ts";
import { coapTuning, type CoapTuning } from "../tuning.ts";

export const SERVER = { host: "192.0.2.1", port: 5683 };
export const CLIENT = { host: "198.51.100.7", port: 40_001 };

/** What happens to a datagram: how often it arrives, and how late. */
export type Fate = { readonly copies: number; readonly delay: number };
export type Network = (from: "client" | "server", bytes: Uint8Array, count: number) => Fate;

export const HERE: Fate = { copies: 1, delay: 10 };
export const LOST: Fate = { copies: 0, delay: 0 };

/** Answers a request at once, or later by `side.handle`, when it returns undefined. */
export type Handler = (
  request: Extract<EndpointOutput, { type: "request" }>,
  pair: Pair,
) => Response | undefined;

/** The session a block of unknown beginning belongs to; undefined says nothing about it. */
export type Recogniser = (
  fragment: Extract<EndpointOutput, { type: "fragment" }>,
  pair: Pair,
) => SessionId | "unknown" | undefined;

/** A client and a server over a pipe, in virtual time. */
export class Pair {
  now: Instant = 0;
  readonly client: CoapNode;
  readonly server: CoapNode;
  readonly session: SessionId;
  /** Where the client's datagrams seem to come from: a NAT may change it. */
  clientAddress: { host: string; port: number } = CLIENT;
  network: Network = () => HERE;
  /** What the applications of each side saw. */
  readonly seen: { client: CoapNodeOutput[]; server: CoapNodeOutput[] } = {
    client: [],
    server: [],
  };
  /** Every datagram sent, also those that were lost. */
  readonly wire: { at: Instant; from: "client" | "server"; bytes: Uint8Array }[] = [];
  #handler: Handler;
  readonly #recognise: Recogniser | undefined;
  readonly #underWay: { at: Instant; to: "client" | "server"; bytes: Uint8Array; path: Path }[] =
    [];

  constructor(
    handler: Handler,
    options: {
      readonly seed?: number;
      readonly tuning?: Partial<CoapTuning>;
      readonly serverTuning?: Partial<CoapTuning>;
      readonly recognise?: Recogniser;
    } = {},
  ) {
    this.#handler = handler;
    const seed = options.seed ?? 1;
    const tuning = coapTuning(options.tuning);
    const serverTuning = coapTuning(options.serverTuning ?? options.tuning);
    this.client = new CoapNode({ rng: seededRng(seed), tuning });
    this.#recognise = options.recognise;
    const fragments = options.recognise !== undefined;
    this.server = new CoapNode({ rng: seededRng(seed + 1), tuning: serverTuning, fragments });
    this.session = this.client.connect({ local: CLIENT, remote: SERVER }, 0);
  }

  handle(side: "client" | "server", input: CoapNodeInput): void {
    this[side].handle(input, this.now);
    this.#drain(side);
  }

  #id = 100;
  /** Sends a request of the client; its number. */
  ask(request: Request, more: { confirmable?: boolean } = {}): number {
    const id = ++this.#id;
    this.handle("client", { type: "request", id, session: this.session, request, ...more });
    return id;
  }

  /** Runs for so many ms, or until nothing is left to happen. */
  run(span = 600_000): void {
    const end = this.now + span;
    for (;;) {
      const next = this.#next();
      if (next === undefined || next > end) break;
      this.now = Math.max(this.now, next);
      const arrived = this.#underWay.findIndex((d) => d.at <= this.now);
      if (arrived >= 0) {
        const { to, path, bytes } = this.#underWay.splice(arrived, 1)[0]!; // it was found there
        this.handle(to, { type: "datagram", path, bytes });
        continue;
      }
      for (const side of ["client", "server"] as const) {
        this[side].wake(this.now);
        this.#drain(side);
      }
    }
    this.now = end;
  }

  /** The responses that came for a request. */
  responses(id: number): Response[] {
    return this.seen.client.flatMap((o) =>
      o.type === "response" && o.id === id ? [o.response] : [],
    );
  }

  failure(id: number): string | undefined {
    const failed = this.seen.client.find((o) => o.type === "failed" && o.id === id);
    return failed?.type === "failed" ? failed.reason : undefined;
  }

  /** Requests that reached the server's application. */
  get executed(): number {
    return this.seen.server.filter((o) => o.type === "request").length;
  }

  /** The conversation in short: "C CON 0.01", "S ACK 2.05". */
  get story(): string[] {
    return this.wire.map(({ from, bytes }) => `${from === "client" ? "C" : "S"} ${summary(bytes)}`);
  }

  messages(from: "client" | "server"): Message[] {
    return this.wire.filter((d) => d.from === from).map((d) => decodeMessage(d.bytes, 65_804));
  }

  #next(): Instant | undefined {
    const times = [this.client.wakeAt, this.server.wakeAt, ...this.#underWay.map((d) => d.at)];
    const known = times.filter((t) => t !== undefined);
    return known.length === 0 ? undefined : Math.min(...known);
  }

  #drain(side: "client" | "server"): void {
    for (;;) {
      const output = this[side].poll();
      if (output === undefined) return;
      if (output.type === "datagram") this.#carry(side, output.bytes, output.path);
      else {
        this.seen[side].push(output);
        if (output.type === "fragment") {
          const into = this.#recognise?.(output, this);
          const { exchange } = output;
          const answer = response(Code.RequestEntityIncomplete);
          if (into === "unknown")
            this.server.handle({ type: "respond", exchange, response: answer }, this.now);
          else if (into !== undefined)
            this.server.handle({ type: "adopt", exchange, into }, this.now);
        }
        if (side === "server" && output.type === "request") {
          const response = this.#handler(output, this);
          if (response !== undefined)
            this.server.handle({ type: "respond", exchange: output.exchange, response }, this.now);
        }
      }
    }
  }

  #carry(from: "client" | "server", bytes: Uint8Array, path: Path): void {
    this.wire.push({ at: this.now, from, bytes });
    const { copies, delay } = this.network(from, bytes, this.wire.length);
    const to = from === "client" ? "server" : "client";
    // The NAT knows one mapping: what goes to an older one is lost.
    if (from === "server" && path.remote.port !== this.clientAddress.port) return;
    const arrival: Path =
      to === "server"
        ? { local: SERVER, remote: this.clientAddress }
        : { local: CLIENT, remote: SERVER };
    for (let copy = 0; copy < copies; copy++) {
      const at = this.now + delay + copy;
      this.#underWay.push({ at, to, bytes: Uint8Array.from(bytes), path: arrival });
    }
    this.#underWay.sort((a, b) => a.at - b.at);
  }
}

function summary(bytes: Uint8Array): string {
  if (bytes.length < 4) return toHex(bytes);
  const { type, code } = decodeMessage(bytes, 65_804);
  const name = type === CON ? "CON" : type === NON ? "NON" : type === ACK ? "ACK" : "RST";
  return code === 0 ? name : `${name} ${formatCode(code)}`;
}
