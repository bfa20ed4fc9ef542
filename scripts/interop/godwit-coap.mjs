// Godwit's CoAP client and server as the cases need them, over the public interface of its packages.
import {
  Code,
  CoapNode,
  ContentFormat,
  OptionNumber,
  coapTuning,
  findUint,
  formatCode,
  formatLinks,
  formatPath,
  request,
  response,
  uintOption,
  uriPath,
} from "@godwit/coap";
import { Driver, openUdp, systemRng } from "@godwit/io";
import { LARGE, USUAL } from "./coap-peers.mjs";
import { ProtectedNode } from "./godwit-oscore.mjs";

/**
 * `protectionOf(bench)`: the OSCORE context to speak under, as ProtectedNode takes it. `early`: asks for a block size with the
 * first request; else with the second, where blocks turn out to be larger (RFC 7959 3.1, figures 3 and 4).
 */
export function clientUnder(protectionOf = () => undefined, { early = false } = {}) {
  const ask = async (bench, uri, block, code, parts) => {
    const tuning = block ? { preferredSzx: Math.log2(block) - 4 } : {};
    if (block && early && code === Code.GET)
      parts = { ...parts, options: [uintOption(OptionNumber.Block2, tuning.preferredSzx)] };
    const node = await Node.open(bench, { tuning, protection: protectionOf(bench) });
    const answer = await node.answer(node.send(uri, code, parts));
    return { code: formatCode(answer.code), body: Buffer.from(answer.payload) };
  };
  return {
    echoes: true,
    get: (bench, uri, { block } = {}) => ask(bench, uri, block, Code.GET, {}),
    put: (bench, uri, body, { block } = {}) => ask(bench, uri, block, Code.PUT, { payload: body }),
    async observe(bench, uri, count) {
      const node = await Node.open(bench, { protection: protectionOf(bench) });
      const seen = [];
      const id = node.send(uri, Code.GET, { observe: 0 });
      while (seen.length < count) seen.push(String(Buffer.from((await node.answer(id)).payload)));
      node.feed({ type: "cancel", id, how: "deregister" });
      return seen;
    },
  };
}

export const client = clientUnder();

/**
 * `trusting`: takes peers to be where they seem to be, and so asks nobody for an Echo before it sends much. `protectionOf`: its
 * OSCORE context, by the bench.
 */
export function serverUnder(protectionOf = () => undefined) {
  const start = async (bench, options) =>
    (await serve(bench, { ...options, protection: protectionOf(bench) })).base;
  return { paths: USUAL, start };
}

export const server = serverUnder();

/** The same, with `stop` and, under OSCORE, `renew`, and on the port that is asked for. */
export async function serve(
  bench,
  { trusting = false, tuning = {}, onUnobserved = () => {}, protection, port = 0 } = {},
) {
  const node = await Node.open(bench, { tuning, protection, port });
  const resources = new Resources(node);
  node.onRequest = (asked) => {
    if (trusting) node.feed({ type: "validated", session: asked.session });
    resources.answer(asked);
  };
  node.onUnobserved = (exchange) => {
    resources.forget(exchange);
    onUnobserved();
  };
  const timer = setInterval(() => resources.tick(), 200);
  bench.after(() => clearInterval(timer));
  const base = `coap://127.0.0.1:${node.port}`;
  return {
    base,
    port: node.port,
    stop: () => node.close(),
    renew: () => node.feed({ type: "renew" }),
  };
}

/** A CoapNode, or a ProtectedNode, on a socket of its own, with promises for answers. */
class Node {
  static #free = 1;
  onRequest = () => {};
  onUnobserved = () => {};
  #waiting = new Map();
  #closed = false;
  #driver;
  #node;
  #local;

  static async open(bench, { tuning = {}, protection, port = 0 } = {}) {
    const node = new Node();
    const udp = await openUdp({ host: "127.0.0.1", port });
    node.#local = udp.local[0];
    const options = { rng: systemRng(), tuning: coapTuning(tuning), ...protection };
    node.#node = protection ? new ProtectedNode(options) : new CoapNode(options);
    node.#driver = new Driver({
      machine: node.#node,
      port: udp,
      onOutput: (output) => node.#take(output),
      onFault: ({ error }) => console.error(error),
    });
    bench.after(() => node.close());
    return node;
  }

  async close() {
    if (this.#closed) return;
    this.#closed = true;
    await this.#driver.close();
  }

  get port() {
    return this.#local.port;
  }

  feed(input) {
    this.#driver.feed(input);
  }

  /** The request's name; its answers are fetched with `answer`. */
  send(uri, code, parts) {
    const { hostname, port, pathname, search } = new URL(uri);
    const remote = { host: hostname, port: Number(port) };
    const session = this.#node.connect({ local: this.#local, remote }, this.#driver.clock.now());
    const query = search ? search.slice(1).split("&") : [];
    const id = Node.#free++;
    this.#waiting.set(id, { ready: [], wake: () => {} });
    const asked = request(code, { path: pathname, query, ...parts });
    this.feed({ type: "request", id, session, request: asked });
    return id;
  }

  /** The next answer to `id`. */
  async answer(id) {
    const queue = this.#waiting.get(id);
    while (queue.ready.length === 0) await new Promise((wake) => (queue.wake = wake));
    const output = queue.ready.shift();
    if (output.type === "failed") throw new Error(`request failed: ${output.reason}`);
    return output.response;
  }

  #take(output) {
    if (output.type === "request") this.onRequest(output);
    else if (output.type === "unobserved") this.onUnobserved(output.exchange);
    else if (output.type === "response" || output.type === "failed") {
      const queue = this.#waiting.get(output.id);
      queue.ready.push(output);
      queue.wake();
    }
  }
}

/** The resources of `USUAL`. */
class Resources {
  #node;
  #kept = new Uint8Array();
  #ticks = 0;
  #observers = new Set();

  constructor(node) {
    this.#node = node;
  }

  answer({ exchange, request: asked }) {
    const path = formatPath(uriPath(asked.options));
    if (path === "/separate") setTimeout(() => this.#respond(exchange, text("late")), SEPARATE);
    else this.#respond(exchange, this.#serve(exchange, path, asked));
  }

  #serve(exchange, path, asked) {
    if (path === "/.well-known/core") {
      return response(Code.Content, { contentFormat: ContentFormat.LinkFormat, payload: LINKS });
    }
    if (path === USUAL.hello) return text("hello");
    if (path === USUAL.large) return text(LARGE);
    if (path === USUAL.store && asked.code === Code.PUT) {
      this.#kept = asked.payload;
      return response(Code.Changed);
    }
    if (path === USUAL.store) return text(this.#kept);
    if (path !== USUAL.clock) return response(Code.NotFound);
    if (findUint(asked.options, OptionNumber.Observe) !== 0) return this.#time();
    this.#observers.add(exchange);
    return this.#time();
  }

  #time() {
    const options = [{ number: OptionNumber.Observe, value: new Uint8Array() }];
    return response(Code.Content, { contentFormat: 0, options, payload: String(this.#ticks) });
  }

  #respond(exchange, answer) {
    this.#node.feed({ type: "respond", exchange, response: answer });
  }

  tick() {
    this.#ticks += 1;
    for (const exchange of this.#observers) {
      this.#node.feed({ type: "notify", exchange, response: this.#time() });
    }
  }

  forget(exchange) {
    this.#observers.delete(exchange);
  }
}

const text = (payload) => response(Code.Content, { contentFormat: 0, payload });

const LINKS = formatLinks(
  Object.values(USUAL).map((target) => ({
    target,
    attributes: target === USUAL.clock ? [{ name: "obs" }] : [],
  })),
);

/** Longer than the second after which a waiting request is acknowledged by itself. */
const SEPARATE = 1_200;
