import {
  EMPTY,
  type DatagramEvent,
  type Instant,
  type SessionId,
  type SocketAddress,
} from "@godwit/base";
import { CON, decodeMessage, encodeMessage, type Request } from "@godwit/coap";
import { DtlsClient } from "@godwit/dtls";
import { Driver, systemRng, type DatagramPort, type Timers } from "@godwit/io";
import {
  ServerStack,
  type Credential,
  type ServerStackInput,
  type ServerStackOutput,
} from "@godwit/lwm2m";
import { OscoreLayer, oscoreTuning, type Credential as Context } from "@godwit/oscore";
import { oscoreProtection } from "@godwit/server";
import { inputOf, ContextPeers } from "../context-peers.ts";
import { source } from "../inner-port.ts";
import { messageOf } from "../messages.ts";
import { FIXED, KEY, NEGOTIATED } from "./asks.ts";
import { recordedB2 } from "./recorded-b2.ts";
import type { Known } from "./sort.ts";

/**
 * The server's machines as `godwit serve` piles them up, with the loop that drives them and without sockets, and some devices
 * that are at work with it. Only the server's part of each exchange is timed: `spent`, in ms.
 */
export class StackUnderFlood {
  readonly stack: ServerStack;
  now: Instant = Date.now();
  /** ms that the server took for what `arrive` was given. */
  spent = 0;
  readonly #port = new OpenPort();
  readonly #driver: Driver<ServerStackInput, ServerStackOutput>;
  readonly #devices: CidDevice[] = [];
  /** Others, whose connection ids change with each handshake. */
  readonly #resuming: CidDevice[] = [];
  readonly #peers = new ContextPeers();
  #number = 0;
  #ref = 0;

  constructor(devices: number) {
    const rng = systemRng();
    this.stack = new ServerStack({
      rng,
      now: this.now,
      protection: oscoreProtection(rng),
      sealer: { seal: (bytes) => bytes, open: (bytes) => bytes },
      dtls: { port: COAPS.port },
    });
    this.#driver = new Driver({
      machine: this.stack,
      port: this.#port,
      clock: { now: () => this.now, wall: () => this.now, skew: 0, toWall: (at) => at },
      timers: NO_TIMERS,
      onFault: ({ error }) => {
        throw error;
      },
    });
    for (let n = 0; n < 2 * devices; n++) {
      this.#know({ kind: "psk", endpoint: `cid-${n}`, identity: `cid-${n}`, key: KEY });
      (n < devices ? this.#devices : this.#resuming).push(
        new CidDevice(this, `cid-${n}`, source(n)),
      );
    }
    this.#know(oscoreCredential(FIXED, "fixed"));
    this.#know(oscoreCredential(NEGOTIATED, "negotiated"));
    for (const device of this.#resuming) device.handshake("full");
    for (const device of this.#devices) {
      device.handshake("full");
      device.say(messageOf({ kind: "register", endpoint: device.endpoint }));
    }
  }

  /** What a stranger can read on the wire. */
  known(): Known {
    return {
      cids: this.#devices.map(({ cid }) => cid),
      kid: inputOf(FIXED).senderId,
      negotiatedKid: inputOf(NEGOTIATED).senderId,
      recordedB2: recordedB2(inputOf(NEGOTIATED)),
    };
  }

  /** The addresses of devices that have an association. */
  get paths(): readonly SocketAddress[] {
    return this.#devices.map(({ address }) => address);
  }

  /** An empty confirmable message inside the session of the `n`-th device. */
  pingOverCid(n: number): void {
    this.#device(n).say(Uint8Array.of(0x40, 0, 0, 0));
  }

  resume(n: number): void {
    this.#resuming[n % this.#resuming.length]!.handshake("resume"); // within
  }

  getOverOscore(): void {
    const get = messageOf({ kind: "get", path: "/.well-known/core" });
    this.arrive("coap", source(3_000_000), this.#peers.seal(FIXED, this.numberOf(get)));
    if (this.answered === undefined) throw new Error("no answer over OSCORE");
    this.#peers.open(FIXED, this.answered);
  }

  agreeByB2(n: number): void {
    new B2Device(this, source(2_000_000 + n)).agree();
  }

  /** The last datagram that the server sent, since it was handed one. */
  get answered(): Uint8Array | undefined {
    return this.#port.sent;
  }

  /** Hands the server one datagram, and carries out what follows but the sending. */
  arrive(port: "coap" | "coaps", remote: SocketAddress, bytes: Uint8Array): void {
    this.#port.sent = undefined;
    const before = performance.now();
    this.#port.arrive(port === "coap" ? COAP : COAPS, remote, bytes);
    this.spent += performance.now() - before;
  }

  /** As `arrive`, for one after the other; ns that one took, for each few of them. */
  arriveAll(
    port: "coap" | "coaps",
    all: readonly (readonly [SocketAddress, Uint8Array])[],
  ): readonly number[] {
    const local = port === "coap" ? COAP : COAPS;
    const costs: number[] = [];
    for (let from = 0; from < all.length; from += FEW) {
      const few = all.slice(from, from + FEW).map(asRead);
      const before = performance.now();
      for (const [remote, bytes] of few) {
        this.now += BETWEEN;
        this.#port.arrive(local, remote, bytes);
      }
      costs.push(((performance.now() - before) * 1e6) / few.length);
    }
    return costs;
  }

  /** Lets everything end that a stranger has begun. */
  rest(): void {
    this.now += REST;
    for (let at = this.stack.wakeAt; at !== undefined && at <= this.now; at = this.stack.wakeAt) {
      this.stack.wake(this.now);
      this.#drain();
    }
  }

  /** A CoAP message number that was not used before. */
  numberOf(message: Uint8Array): Uint8Array {
    this.#number += 1;
    message[2] = this.#number >>> 8;
    message[3] = this.#number;
    if (message.length >= 8)
      new DataView(message.buffer, message.byteOffset).setUint32(4, this.#number);
    return message;
  }

  #device(n: number): CidDevice {
    return this.#devices[n % this.#devices.length]!; // within
  }

  #know(credential: Credential): void {
    this.#driver.feed({ type: "addCredential", ref: ++this.#ref, credential });
  }

  /** What the machines want to be done after a rest. */
  #drain(): void {
    for (let output = this.stack.poll(); output !== undefined; output = this.stack.poll()) {
      if (output.type === "store")
        this.stack.handle({ type: "stored", ticket: output.ticket, ok: true }, this.now);
    }
  }
}

/** As a socket has read it a moment ago: text in one piece, that nobody has looked for in a table yet, and bytes at hand. */
function asRead([{ host, port }, bytes]: readonly [SocketAddress, Uint8Array]): readonly [
  SocketAddress,
  Uint8Array,
] {
  const text = Buffer.from(host, "latin1").toString("latin1");
  return [{ host: text, port }, Uint8Array.from(bytes)];
}

/** A port that is fed by hand, with what a socket makes of each datagram: new objects all of them. */
class OpenPort implements DatagramPort {
  sent: Uint8Array | undefined;
  #receive: ((event: DatagramEvent) => void) | undefined;

  listen(receive: (event: DatagramEvent) => void): void {
    this.#receive = receive;
  }

  send({ bytes }: DatagramEvent): void {
    this.sent = bytes;
  }

  async close(): Promise<void> {}

  arrive(local: SocketAddress, { host, port }: SocketAddress, message: Uint8Array): void {
    this.#receive?.({
      type: "datagram",
      path: { local, remote: { host, port } },
      bytes: new Uint8Array(message.buffer, message.byteOffset, message.byteLength),
    });
  }
}

/** A device with a Connection ID. */
class CidDevice {
  readonly endpoint: string;
  readonly address: SocketAddress;
  readonly #under: StackUnderFlood;
  readonly #client: DtlsClient;
  /** The connection id that the server gave it, as its records show it. */
  cid: Uint8Array = EMPTY;
  #opened = false;

  constructor(under: StackUnderFlood, endpoint: string, address: SocketAddress) {
    this.#under = under;
    this.endpoint = endpoint;
    this.address = address;
    this.#client = new DtlsClient({
      rng: systemRng(),
      credentials: { kind: "psk", identity: endpoint, key: KEY },
      connectionId: EMPTY,
    });
  }

  handshake(how: "full" | "resume"): void {
    this.#opened = false;
    const path = { local: this.address, remote: COAPS };
    this.#client.handle({ type: "connect", session: 1, path, how }, this.#under.now);
    this.#run();
    if (!this.#opened) throw new Error("a handshake came to nothing");
  }

  say(message: Uint8Array): void {
    const bytes = this.#under.numberOf(message);
    this.#client.handle({ type: "send", session: 1, bytes }, this.#under.now);
    this.#run();
    if (this.#under.answered === undefined) throw new Error("a device got no answer");
  }

  #run(): void {
    const { now } = this.#under;
    for (let output = this.#client.poll(); output; output = this.#client.poll()) {
      if (output.type === "opened") this.#opened = true;
      if (output.type !== "datagram") continue;
      if (output.bytes[0] === TLS12_CID) this.cid = output.bytes.slice(11, 15);
      this.#under.arrive("coaps", this.address, output.bytes);
      const bytes = this.#under.answered;
      if (bytes === undefined) continue;
      const path = { local: this.address, remote: COAPS };
      this.#client.handle({ type: "datagram", path, bytes }, now);
    }
  }
}

/** A device whose OSCORE keys come of Appendix B.2. */
class B2Device {
  readonly #under: StackUnderFlood;
  readonly #address: SocketAddress;
  readonly #layer = new OscoreLayer(oscoreTuning(), systemRng());

  constructor(under: StackUnderFlood, address: SocketAddress) {
    this.#under = under;
    this.#address = address;
    const credential: Context = {
      input: inputOf(NEGOTIATED),
      derivation: "negotiated",
      initiates: true,
    };
    this.#layer.handle({ type: "add", session: SESSION, credential, carrier: 1 }, under.now);
    this.#settle();
  }

  /** Two requests and their answers. */
  agree(): void {
    for (let round = 0; round < 2; round++) {
      const { request, exchange } = this.#protect();
      this.#under.arrive("coap", this.#address, this.#message(request));
      const { answered, now } = this.#under;
      if (answered === undefined) throw new Error("no answer in Appendix B.2");
      const { code, options, payload } = decodeMessage(answered);
      this.#layer.unprotectResponse(exchange, { code, options, payload }, now, 1);
      this.#settle();
    }
  }

  #protect() {
    const made = this.#layer.protectRequest(SESSION, ASKED, this.#under.now);
    if (made.kind !== "send") throw new Error(`Appendix B.2 cannot go on: ${made.kind}`);
    this.#settle();
    return made;
  }

  #message({ code, options, payload }: Request): Uint8Array {
    const token = new Uint8Array(4);
    return this.#under.numberOf(
      encodeMessage({ type: CON, code, mid: 0, token, options, payload }),
    );
  }

  #settle(): void {
    for (let output = this.#layer.poll(); output; output = this.#layer.poll()) {
      if (output.type === "store")
        this.#layer.handle({ type: "stored", ticket: output.ticket, ok: true }, this.#under.now);
    }
  }
}

export function oscoreCredential(
  client: number,
  derivation: "fixed" | "negotiated",
): Extract<Credential, { kind: "oscore" }> {
  const { senderId, recipientId, masterSecret } = inputOf(client);
  return {
    kind: "oscore",
    endpoint: `oscore-${client}`,
    senderId: recipientId, // the server's
    recipientId: senderId,
    masterSecret,
    masterSalt: undefined,
    idContext: undefined,
    aead: undefined,
    hkdf: undefined,
    derivation,
  };
}

const NO_TIMERS: Timers = { set: () => undefined, clear: () => {}, afterInput: () => {} };
const COAP: SocketAddress = { host: "192.0.2.1", port: 5_683 };
const COAPS: SocketAddress = { host: "192.0.2.1", port: 5_684 };
const TLS12_CID = 25;
const SESSION: SessionId = 1;
/** Datagrams that are timed together: what disturbs the machine strikes few of such groups. */
const FEW = 50;
/** ms from one datagram to the next: 20 000 in a second. */
const BETWEEN = 0.05;
/** ms; longer than a handshake is waited for, and than what was answered is kept for duplicates. */
const REST = 600_000;
const ASKED: Request = { code: 1, options: [], payload: EMPTY };
