// Stands between devices and the server's port of DTLS, passes every datagram on, and remembers what the server wrote.
//
//   device ──> one port for all   tap   a port per device ──> server
//
// It reads record headers only, by its own reading of RFC 6347 4.1 and RFC 9146 4: it is to find out the stack's faults.

import { createHash } from "node:crypto";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";

/** Under one key no nonce may come twice with different bytes: keystream and the authentication key would be given away. */
type Nonces = Map<string, string>;

type Flow = {
  readonly socket: Socket;
  /** Random of the ServerHello seen last. */
  random: string;
  /** An association whose connection id has not been seen yet. */
  fresh: boolean;
  nonces: Nonces;
};

export class DtlsTap {
  /** ClientHellos, with and without a cookie and repeated ones. */
  hellos = 0;
  /** Protected records that the server wrote. */
  records = 0;
  /** Nonces used twice. */
  readonly faults: string[] = [];
  readonly #inside: Socket;
  readonly #server: number;
  readonly #flows = new Map<number, Flow>();
  /** What the server wrote, by the connection id it gave out: an association outlives a device's port. */
  readonly #written = new Map<string, Nonces>();

  private constructor(inside: Socket, server: number) {
    this.#inside = inside;
    this.#server = server;
    inside.on("message", (bytes: Buffer, from: RemoteInfo) => {
      const flow = this.#flows.get(from.port) ?? this.#open(from.port);
      this.#up(flow, bytes);
      flow.socket.send(bytes, server, HOST);
    });
  }

  static async start(server: number): Promise<DtlsTap> {
    const inside = createSocket({ type: "udp4", recvBufferSize: RECEIVE_BUFFER });
    inside.bind(0, HOST);
    await once(inside, "listening");
    return new DtlsTap(inside, server);
  }

  get port(): number {
    return this.#inside.address().port;
  }

  close(): void {
    this.#inside.close();
    for (const { socket } of this.#flows.values()) socket.close();
  }

  #open(device: number): Flow {
    const socket = createSocket("udp4");
    const flow: Flow = { socket, random: "", fresh: true, nonces: new Map() };
    socket.bind(0, HOST);
    socket.on("message", (bytes: Buffer, { port }) => {
      if (port !== this.#server) return;
      this.#down(flow, bytes);
      this.#inside.send(bytes, device, HOST);
    });
    this.#flows.set(device, flow);
    return flow;
  }

  #up(flow: Flow, datagram: Buffer): void {
    for (const { type, epoch, cid, fragment } of recordsOf(datagram)) {
      if (type === HANDSHAKE && epoch === 0 && fragment[0] === CLIENT_HELLO) this.hellos += 1;
      if (type !== TLS12_CID) continue;
      if (flow.fresh) this.#written.set(cid, flow.nonces);
      else flow.nonces = this.#written.get(cid) ?? flow.nonces;
      flow.fresh = false;
    }
  }

  #down(flow: Flow, datagram: Buffer): void {
    for (const { type, epoch, number, fragment } of recordsOf(datagram)) {
      if (epoch === 0) {
        if (type !== HANDSHAKE || fragment[0] !== SERVER_HELLO) continue;
        const random = fragment.toString("hex", RANDOM_AT, RANDOM_AT + 32);
        if (random === flow.random) continue; // repeated
        Object.assign(flow, { random, fresh: true, nonces: new Map() });
        continue;
      }
      this.records += 1;
      const explicit = fragment.toString("hex", 0, 8);
      for (const nonce of new Set([number, explicit])) this.#once(flow.nonces, nonce, fragment);
    }
  }

  #once(nonces: Nonces, nonce: string, fragment: Buffer): void {
    const digest = createHash("sha1").update(fragment).digest("base64");
    const before = nonces.get(nonce);
    if (before === undefined) nonces.set(nonce, digest);
    else if (before !== digest) this.faults.push(`the server used nonce ${nonce} twice`);
  }
}

type Seen = {
  readonly type: number;
  readonly epoch: number;
  /** Epoch and sequence number. */
  readonly number: string;
  readonly cid: string;
  readonly fragment: Buffer;
};

function* recordsOf(datagram: Buffer): Generator<Seen> {
  for (let at = 0; at + 13 <= datagram.length;) {
    const type = datagram[at] ?? 0;
    const n = type === TLS12_CID ? CID_LENGTH : 0;
    const start = at + 13 + n;
    const end = start + datagram.readUInt16BE(start - 2);
    yield {
      type,
      epoch: datagram.readUInt16BE(at + 3),
      number: datagram.toString("hex", at + 3, at + 11),
      cid: datagram.toString("hex", at + 11, at + 11 + n),
      fragment: datagram.subarray(start, end),
    };
    at = end;
  }
}

const HOST = "127.0.0.1";
const RECEIVE_BUFFER = 4 * 1024 * 1024;
const HANDSHAKE = 22;
const TLS12_CID = 25;
const CLIENT_HELLO = 1;
const SERVER_HELLO = 2;
/** In a ServerHello: message header, version, random. */
const RANDOM_AT = 14;
/** Of the connection ids that the server gives out; devices need none. */
const CID_LENGTH = 4;
