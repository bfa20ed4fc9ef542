// A UDP relay in front of a server: a NAT of real sockets whose mappings are forgotten on command.
//   node scripts/interop/rebind-relay.mjs LISTEN_PORT SERVER_HOST:PORT     stdin: "rebind", "status"
//
//   peer ──▶ LISTEN_PORT  relay  a port per peer, a new one after each rebinding ──▶ server
//
// It looks at no byte of what it carries. What the server sends to a forgotten port is lost in silence, as behind a NAT,
// and counted.
import { createSocket } from "node:dgram";
import { isIPv6 } from "node:net";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

/** @param {{ server: { host: string, port: number }, port?: number }} options `port`: where peers send to; any if 0 */
export async function startRelay({ server, port = 0 }) {
  const relay = new Relay(server);
  await relay.open(port);
  return relay;
}

class Relay {
  /** Datagrams carried towards the server and back, and those for ports that are forgotten. */
  counts = { up: 0, down: 0, lost: 0 };
  /** Rebinds by itself before each datagram of this number, and its multiples, that goes up. */
  rebindEvery = Number.POSITIVE_INFINITY;
  /** All peers, one after the other, are one to the server: a device that reboots. */
  onePort = false;
  #server;
  #type;
  #inside;
  /** By the peer's address. */
  #mappings = new Map();
  /** Their sockets stay bound, so that no later mapping gets their port. */
  #forgotten = [];

  constructor(server) {
    this.#server = server;
    this.#type = isIPv6(server.host) ? "udp6" : "udp4";
  }

  /** Where peers send to. */
  get port() {
    return this.#inside.address().port;
  }

  /** The ports the server sees now, one per peer that spoke since the last rebinding. */
  get outside() {
    return [...this.#mappings.values()].map(({ port }) => port);
  }

  /** Forgets all mappings: the next datagram of each peer leaves from a new port. */
  rebind() {
    for (const mapping of this.#mappings.values()) mapping.live = false;
    this.#forgotten.push(...this.#mappings.values());
    this.#mappings.clear();
  }

  async open(port) {
    this.#inside = await bound(this.#type, port);
    this.#inside.on("message", (bytes, peer) => this.#up(bytes, peer));
  }

  close() {
    this.rebind();
    this.#inside.close();
    for (const { socket } of this.#forgotten) socket.close();
  }

  #up(bytes, peer) {
    this.counts.up += 1;
    if (this.counts.up % this.rebindEvery === 0) this.rebind();
    const name = this.onePort ? "all" : `${peer.address} ${peer.port}`;
    const mapping = this.#mappings.get(name) ?? this.#map(name);
    mapping.peer = peer;
    mapping.socket.send(bytes, this.#server.port, this.#server.host); // waits until it is bound
  }

  #map(name) {
    const socket = createSocket(this.#type);
    const mapping = { socket, port: undefined, live: true, peer: undefined };
    socket.on("message", (bytes) => {
      this.counts[mapping.live ? "down" : "lost"] += 1;
      if (mapping.live) this.#inside.send(bytes, mapping.peer.port, mapping.peer.address);
    });
    socket.bind(0, LOOPBACK[this.#type], () => (mapping.port = socket.address().port));
    this.#mappings.set(name, mapping);
    return mapping;
  }
}

function bound(type, port) {
  return new Promise((done, fail) => {
    const socket = createSocket(type).once("error", fail);
    socket.bind(port, LOOPBACK[type], () => done(socket.off("error", fail)));
  });
}

const LOOPBACK = { udp4: "127.0.0.1", udp6: "::1" };

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [port, server = ""] = process.argv.slice(2);
  const at = server.lastIndexOf(":");
  const host = server.slice(0, at).replace(/^\[|\]$/g, "");
  const relay = await startRelay({
    server: { host, port: Number(server.slice(at + 1)) },
    port: Number(port),
  });
  console.log(`listening ${relay.port}`);
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === "rebind") relay.rebind();
    const { up, down, lost } = relay.counts;
    console.log(`${line} up=${up} down=${down} lost=${lost} ports=${relay.outside.join(",")}`);
  }
  relay.close();
}
