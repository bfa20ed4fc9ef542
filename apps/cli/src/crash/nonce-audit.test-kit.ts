// Every OSCORE message of captured traffic, opened with the credentials: which nonce was used under which key?
//
//   datagram ──> kid, kid context, Partial IV ──> contexts of the device ──opens──> (key, nonce) seen before?
//                        │ names another ID Context (B.2): one more context     └──> inner code: Echo, response 1
//
// A message belongs to a context if it opens under its keys, so none is guessed; what opens under none is reported.

import { concat, equal, hex, toHex } from "@godwit/base";
import {
  Code,
  OptionNumber,
  decodeBody,
  decodeMessage,
  findOption,
  isRequest,
  type Message,
} from "@godwit/coap";
import { KeySource, oscoreOptionOf, type OscoreOption, type SecurityContext } from "@godwit/oscore";

export type AuditedCredential = {
  readonly endpoint: string;
  /** Of the device; hex. */
  readonly senderId: string;
  /** Of the server; hex. */
  readonly recipientId: string;
  readonly masterSecret: string;
};

/** Whose address a path leads to, and the requests on it that responses may belong to. */
export class AuditedPath {
  device: AuditedPeer | undefined;
  /** Echo challenges by either end since `mark`: a device that was killed comes back by another path. */
  readonly echoes: Record<Sender, number> = { device: 0, server: 0 };
  readonly requests: Map<string, OpenRequest[]> = new Map();
}

export type Sender = "device" | "server";

/** What is known of one device's traffic. */
export class AuditedPeer {
  readonly endpoint: string;
  readonly senderId: Uint8Array;
  /** Newest first. */
  readonly contexts: Context[] = [];
  /** Runs of Appendix B.2 that were begun. */
  runs = 0;
  readonly #sources: Record<Sender, KeySource>;

  constructor(credential: AuditedCredential) {
    const { endpoint } = credential;
    const [device, server] = [hex(credential.senderId), hex(credential.recipientId)];
    const masterSecret = hex(credential.masterSecret);
    this.endpoint = endpoint;
    this.senderId = device;
    this.#sources = {
      device: new KeySource({ masterSecret, senderId: device, recipientId: server }),
      server: new KeySource({ masterSecret, senderId: server, recipientId: device }),
    };
    this.context(undefined);
  }

  /** The context of an ID Context. */
  context(id: Uint8Array | undefined): Context {
    const there = this.contexts.find((one) =>
      id === undefined || one.id === undefined ? id === one.id : equal(id, one.id),
    );
    if (there !== undefined) return there;
    const made = {
      id: id?.slice(),
      device: this.#sources.device.derive(id),
      server: this.#sources.server.derive(id),
    };
    this.contexts.unshift(made);
    return made;
  }
}

export class NonceAudit {
  readonly faults: string[] = [];
  messages = 0;
  /** Byte for byte what was seen before. */
  repeated = 0;
  /** Echo challenges, and answers that nothing protects. */
  echoes = 0;
  unprotected = 0;
  readonly peers: readonly AuditedPeer[];
  readonly #byKid = new Map<string, AuditedPeer>();
  /** Where there were challenges since `mark`. */
  readonly #challenged = new Set<AuditedPath>();
  /** Ciphertext by key and nonce. */
  readonly #used = new Map<string, string>();

  constructor(credentials: readonly AuditedCredential[]) {
    this.peers = credentials.map((credential) => new AuditedPeer(credential));
    for (const peer of this.peers) this.#byKid.set(toHex(peer.senderId), peer);
  }

  get nonces(): number {
    return this.#used.size;
  }

  /** Challenges are counted from here. Returns who was challenged more than once since the last call. */
  mark(): readonly string[] {
    const faults: string[] = [];
    for (const { device, echoes } of this.#challenged) {
      for (const by of ["device", "server"] as const) {
        if (echoes[by] > 1)
          faults.push(
            `${device?.endpoint}: ${echoes[by]} Echo challenges by its ${by} after one kill`,
          );
        echoes[by] = 0;
      }
    }
    this.#challenged.clear();
    return faults;
  }

  /** One datagram as it was on the wire. */
  see(path: AuditedPath, from: Sender, datagram: Uint8Array): void {
    const message = decodeMessage(datagram);
    if (message.code === Code.Empty) return;
    const option = oscoreOptionOf(message.options);
    if (option === "bad") return void this.faults.push(`a ${from} sent a bad OSCORE option`);
    if (option === undefined) {
      if (isRequest(message.code)) this.faults.push(`a ${from} sent an unprotected request`);
      else this.unprotected += 1;
      return;
    }
    this.messages += 1;
    const known = isRequest(message.code)
      ? this.#request(path, from, message, option)
      : this.#response(path, from, message, option);
    if (known) return;
    const who = path.device?.endpoint ?? "an unknown device";
    const kind = isRequest(message.code) ? "request" : "response";
    this.faults.push(`${who}: a ${kind} of the ${from} opens under no key: ${toHex(datagram)}`);
  }

  #request(path: AuditedPath, from: Sender, message: Message, option: OscoreOption): boolean {
    const { kid, piv, kidContext } = option;
    if (kid === undefined || piv === undefined) return false;
    if (from === "device") path.device = this.#byKid.get(toHex(kid));
    const peer = path.device;
    if (peer === undefined) return false;
    if (kidContext !== undefined) {
      const named = unwrap(kidContext);
      if (this.#opensRequest(path, peer, from, message, kid, piv, named)) return true;
    }
    return [...peer.contexts].some((context) =>
      this.#opensRequest(path, peer, from, message, kid, piv, context.id),
    );
  }

  #opensRequest(
    path: AuditedPath,
    peer: AuditedPeer,
    from: Sender,
    message: Message,
    kid: Uint8Array,
    piv: Uint8Array,
    id: Uint8Array | undefined,
  ): boolean {
    const isNew = !peer.contexts.some((one) => one.id && id && equal(one.id, id));
    const context = peer.context(id);
    const to = context[other(from)];
    const nonce = to.nonce(kid, piv);
    const aad = to.additionalData(kid, piv);
    if (to.decrypt(nonce, aad, message.payload) === undefined) return false;
    // Request 1 alone names a context of R1 only.
    if (isNew && id?.length === NONCE_LENGTH) peer.runs += 1;
    this.#use(peer, context, from, nonce, message.payload);
    const key = `${from} ${toHex(message.token)}`;
    const open = path.requests.get(key) ?? [];
    path.requests.set(key, open);
    if (!open.some((one) => one.context === context && equal(one.nonce, nonce)))
      open.unshift({ context, nonce, aad });
    open.length = Math.min(open.length, REMEMBERED);
    return true;
  }

  #response(path: AuditedPath, from: Sender, message: Message, option: OscoreOption): boolean {
    const peer = path.device;
    const open = path.requests.get(`${other(from)} ${toHex(message.token)}`) ?? [];
    if (peer === undefined) return false;
    const { piv, kidContext } = option;
    const sender = from === "device" ? peer.senderId : peer.contexts[0]!.server.senderId; // one at least
    for (const { context: asked, nonce: request, aad } of open) {
      const one =
        kidContext === undefined
          ? asked
          : peer.context(concat(unwrap(kidContext), asked.id ?? new Uint8Array()));
      const to = one[other(from)];
      const nonce = piv === undefined ? request : to.nonce(sender, piv);
      const plain = to.decrypt(nonce, aad, message.payload);
      if (plain === undefined) continue;
      const isFirst = this.#use(peer, one, from, nonce, message.payload);
      if (isFirst) this.#look(path, peer, from, plain, kidContext !== undefined, asked);
      return true;
    }
    return false;
  }

  #look(
    path: AuditedPath,
    peer: AuditedPeer,
    from: Sender,
    plain: Uint8Array,
    renews: boolean,
    { id }: Context,
  ): void {
    if (renews && id?.length !== NONCE_LENGTH) peer.runs += 1; // the server wants other keys
    if (plain[0] !== Code.Unauthorized) return;
    if (findOption(decodeBody(plain, 1).options, OptionNumber.Echo) === undefined) return;
    this.echoes += 1;
    path.echoes[from] += 1;
    this.#challenged.add(path);
  }

  /** Says whether it is the first time. */
  #use(
    { endpoint }: AuditedPeer,
    context: Context,
    from: Sender,
    nonce: Uint8Array,
    sealed: Uint8Array,
  ): boolean {
    const key = `${toHex(context[from].senderKey)} ${toHex(nonce)}`;
    const bytes = toHex(sealed);
    const before = this.#used.get(key);
    if (before === undefined) this.#used.set(key, bytes);
    else if (before === bytes) this.repeated += 1;
    else this.faults.push(`${endpoint}: the ${from} used nonce ${toHex(nonce)} for two messages`);
    return before === undefined;
  }
}

type Context = {
  readonly id: Uint8Array | undefined;
  readonly device: SecurityContext;
  readonly server: SecurityContext;
};

type OpenRequest = {
  readonly context: Context;
  readonly nonce: Uint8Array;
  readonly aad: Uint8Array;
};

function other(from: Sender): Sender {
  return from === "device" ? "server" : "device";
}

/** The nonce inside the byte string that Appendix B.2 puts it in, or the bytes as they are. */
function unwrap(kidContext: Uint8Array): Uint8Array {
  const [head = 0, length = 0] = kidContext;
  if (head >>> 5 !== 2) return kidContext;
  const short = head & 0x1f;
  if (short < 24) return kidContext.length === 1 + short ? kidContext.subarray(1) : kidContext;
  return short === 24 && kidContext.length === 2 + length ? kidContext.subarray(2) : kidContext;
}

/** Bytes of R1, as our devices choose it. */
const NONCE_LENGTH = 8;
/** Requests of one token: tokens come again. */
const REMEMBERED = 32;
