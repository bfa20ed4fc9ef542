// Stands between one device and the server's port: a NAT of real sockets that can move, fall silent and be listened to.
//
//   device ──▶ port  relay  a port of its own, another one after each move ──▶ server
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";

export class Relay {
  /** Nothing from the server comes in. */
  silent = false;
  /** Nothing passes. */
  cut = false;
  /** Since when the server must not speak to the device; ms on the clock of `performance`. */
  shutSince;
  /** What broke a rule. */
  faults = [];
  #server;
  #inside = createSocket("udp4");
  #outside;
  #device;
  /** What the device sealed under each nonce, by connection id. */
  #nonces = new Map();

  static async open(server) {
    const relay = new Relay();
    relay.#server = server;
    relay.#inside.bind(0, HOST);
    await once(relay.#inside, "listening");
    relay.#inside.on("message", (bytes, { port }) => relay.#up(bytes, port));
    relay.move();
    return relay;
  }

  /** Where the device sends to. */
  get port() {
    return this.#inside.address().port;
  }

  /** The next datagram of the device leaves from another port. The old one hears nothing. */
  move() {
    this.#outside?.close();
    const socket = createSocket("udp4");
    socket.on("message", (bytes) => this.#down(bytes));
    this.#outside = socket;
  }

  close() {
    this.#inside.close();
    this.#outside.close();
  }

  #up(bytes, port) {
    this.#device = port;
    this.#audit(bytes);
    if (!this.cut) this.#outside.send(bytes, this.#server, HOST);
  }

  #down(bytes) {
    const { shutSince } = this;
    if (shutSince !== undefined && performance.now() > shutSince + IN_FLIGHT && isProtected(bytes))
      this.faults.push("a device that is shut out hears a protected record");
    if (!this.cut && !this.silent) this.#inside.send(bytes, this.#device, HOST);
  }

  /** Records with a connection id: it tells the keys apart. Everything else is audited by `npm run crash`. */
  #audit(bytes) {
    for (const { number, cid, fragment } of recordsOf(bytes)) {
      if (cid === "") continue;
      const used = `${cid} ${number}`;
      const digest = createHash("sha1").update(fragment).digest("base64");
      const before = this.#nonces.get(used);
      if (before !== undefined && before !== digest)
        this.faults.push(`nonce ${number} served twice under the keys of ${cid}`);
      this.#nonces.set(used, digest);
    }
  }

  /** The device was put back: it cannot know which numbers it has used. */
  forgive() {
    this.#nonces.clear();
  }
}

function isProtected(bytes) {
  return [...recordsOf(bytes)].some(({ epoch }) => epoch !== 0);
}

function* recordsOf(bytes) {
  for (let at = 0; at + 13 <= bytes.length;) {
    const type = bytes[at];
    if (type < 20 || type > 26 || bytes[at + 1] !== 0xfe) return; // no DTLS
    const n = type === TLS12_CID ? CID_LENGTH : 0;
    const end = at + 13 + n + bytes.readUInt16BE(at + 11 + n);
    yield {
      type,
      epoch: bytes.readUInt16BE(at + 3),
      number: bytes.toString("hex", at + 3, at + 11),
      cid: bytes.toString("hex", at + 11, at + 11 + n),
      fragment: bytes.subarray(at + 13 + n, end),
    };
    at = end;
  }
}

const HOST = "127.0.0.1";
const TLS12_CID = 25;
/** Of the server. */
const CID_LENGTH = 4;
/** ms; what left before the change may arrive after it. */
const IN_FLIGHT = 2_000;
