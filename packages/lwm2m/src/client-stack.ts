// The whole device below the sockets: raw UDP or DTLS, the CoAP endpoint and what protects its requests, the LwM2M
// client. One machine with datagrams, orders and answers of the application going in, datagrams and events coming out. It
// runs alike under the real driver and in the simulator.

import {
  Ledger,
  Outbox,
  Tickets,
  UsageError,
  earlier,
  unreachable,
  type DatagramEvent,
  type Instant,
  type Machine,
  type Path,
  type SessionId,
  type StoredInput,
  type StoreOutput,
} from "@godwit/base";
import {
  Endpoint,
  UdpSessions,
  coapTuning,
  type CoapTuning,
  type EndpointOutput,
  type TransportOutput,
} from "@godwit/coap";
import { Lwm2mClient } from "./client/client.ts";
import type { ClientOptions, PathKind } from "./client/options.ts";
import type { ClientInput, ClientOutput } from "./client/events.ts";
import type { ClientSnapshot } from "./client/snapshot.ts";
import { clientTuning } from "./client/tuning.ts";
import {
  SecureTransport,
  type ClientDtlsOptions,
  type SecureTransportOutput,
} from "./client-transport.ts";
import type { ProtectionLayer, ProtectionOutput } from "./protection-layer.ts";

export type ClientStackInput =
  | DatagramEvent
  | StoredInput
  /** A clean stop follows: the protected session goes on after it without being asked for proof. */
  | { readonly type: "park" }
  /** Begins, or goes on over another path: our address has changed, or the server's. */
  | { readonly type: "connect"; readonly path: Path }
  | Extract<
      ClientInput,
      { type: "update" | "deregister" | "changed" | "objects" | "configure" | "performed" }
    >;

export type ClientStackOutput =
  | DatagramEvent
  | StoreOutput
  | Exclude<ClientOutput, { type: "coap" | "resume" }>
  | Extract<SecureTransportOutput, { type: "handshakeFailed" | "keyLog" | "stale" }>
  /** A DTLS session is open: after a handshake, or with one that was kept. */
  | { readonly type: "secured"; readonly how: "full" | "resumed" | "kept" }
  /** Bytes were thrown away; the ledger has counted them. */
  | { readonly type: "dropped"; readonly reason: string };

export type ClientStackOptions = ClientOptions & {
  readonly coap?: Partial<CoapTuning>;
  /** Protects all that is said to the server. It has the session already, without a carrier. */
  readonly protection?: {
    readonly layer: ProtectionLayer<never>;
    readonly session: SessionId;
  };
  /** Speaks DTLS: all that `protection` makes travels in it. */
  readonly dtls?: ClientDtlsOptions;
  /** Needed with rows of DTLS from an earlier run. */
  readonly now?: Instant;
};

/** A device on CoAP over UDP or DTLS, protected or plain. */
export class ClientStack implements Machine<ClientStackInput, ClientStackOutput> {
  readonly client: Lwm2mClient;
  readonly #udp: UdpSessions;
  readonly #dtls: SecureTransport | undefined;
  readonly #endpoint: Endpoint;
  readonly #outbox = new Outbox<ClientStackOutput>();
  readonly #protection: ClientStackOptions["protection"];
  readonly #ledger = new Ledger();
  /** Writes under way. */
  readonly #writing = new Tickets<{
    readonly whose: "protection" | "dtls";
    readonly ticket: number;
  }>();
  /** The path to the server. */
  #path: SessionId | undefined;

  constructor(options: ClientStackOptions) {
    // The answer to a probe of the NAT is a separate one, and as late as the probe asks for.
    const longest = options.tuning?.longestProbe ?? clientTuning.longestProbe;
    const slack = options.tuning?.probeSlack ?? clientTuning.probeSlack;
    const separateAnswerTimeout = longest * 1_000 + 2 * slack;
    const tuning = coapTuning({
      separateAnswerTimeout,
      // The server repeats an order under the same message id however long the device was out of reach.
      maxUnsafeKept: UNSAFE_KEPT,
      ...options.coap,
    });
    this.#udp = new UdpSessions(tuning);
    const { protection, dtls, rng, now = 0 } = options;
    this.#protection = protection;
    this.#dtls = dtls && new SecureTransport(rng, dtls, now);
    const ledgerOf = (session: SessionId): Ledger => {
      if (session === protection?.session) return this.#ledger;
      return (this.#dtls ?? this.#udp).ledgerOf(session);
    };
    this.#endpoint = new Endpoint({
      rng,
      tuning,
      ledgerOf,
      lastingObservers: true, // /1/x/6 says what a notification that does not arrive ends
      ...(protection === undefined ? {} : { protection: protection.layer }),
    });
    this.client = new Lwm2mClient({
      ...options,
      pathKind: () => this.#pathKind,
      resumesObservations: protection === undefined,
    });
  }

  get wakeAt(): Instant | undefined {
    const above = earlier(this.client.wakeAt, this.#protection?.layer.wakeAt);
    const transport = (this.#dtls ?? this.#udp).wakeAt;
    return earlier(transport, earlier(this.#endpoint.wakeAt, above));
  }

  get #pathKind(): PathKind {
    if (this.#protection !== undefined) return "bound";
    if (this.#dtls?.isFollowed === true) return "followed";
    return this.#dtls === undefined ? "address" : "session";
  }

  /** Every byte to and from the server, by purpose. */
  get ledger(): Ledger {
    if (this.#dtls !== undefined) {
      const all = this.#dtls.ledger;
      all.absorbInner(this.#ledger);
      return all;
    }
    if (this.#protection !== undefined) return this.#ledger;
    return this.#path === undefined ? NOTHING : this.#udp.ledgerOf(this.#path);
  }

  snapshot(): ClientSnapshot {
    return this.client.snapshot();
  }

  handle(input: ClientStackInput, now: Instant): void {
    if (input.type === "datagram") (this.#dtls ?? this.#udp).handle(input, now);
    else if (input.type === "connect") this.#connect(input.path, now);
    else if (input.type === "park") this.#protection?.layer.handle(input, now);
    else if (input.type === "stored") this.#stored(input, now);
    else this.client.handle(input, now);
    this.#settle(now);
  }

  wake(now: Instant): void {
    (this.#dtls ?? this.#udp).wake(now);
    this.#endpoint.wake(now);
    this.#protection?.layer.wake(now);
    this.client.wake(now);
    this.#settle(now);
  }

  poll(): ClientStackOutput | undefined {
    return this.#outbox.take();
  }

  /** Tickets of its two layers may be the same: outside they have ours. */
  #store(whose: "protection" | "dtls", { ticket, changes }: StoreOutput): void {
    const ours = this.#writing.give({ whose, ticket });
    this.#outbox.push({ type: "store", ticket: ours, changes });
  }

  #stored(input: StoredInput, now: Instant): void {
    const writing = this.#writing.take(input.ticket);
    if (writing === undefined) throw new UsageError(`ticket ${input.ticket} is not open`);
    const stored = { ...input, ticket: writing.ticket };
    if (writing.whose === "dtls") this.#dtls?.handle(stored, now);
    else this.#protection?.layer.handle(stored, now);
  }

  #connect(path: Path, now: Instant): void {
    if (this.#dtls !== undefined) return this.#dtls.handle({ type: "connect", path }, now);
    const there = this.#udp.connect(path, now);
    const before = this.#path;
    if (before === undefined || before === there) this.#path = there;
    else if (this.#protection === undefined) {
      // The session goes on at the new path, and with it all that is observed.
      this.#udp.handle({ type: "rebind", from: there, into: before }, now);
      this.#udp.handle({ type: "close", session: there }, now);
    } else {
      this.#path = there;
      this.#udp.handle({ type: "close", session: before }, now);
    }
    const session = this.#carriedBy(this.#path ?? there, now);
    this.#drainUdp(now);
    this.client.handle({ type: "connected", session }, now);
  }

  /** The endpoint knows of the new path before anything is said on it. */
  #drainUdp(now: Instant): void {
    for (let output = this.#udp.poll(); output !== undefined; output = this.#udp.poll())
      this.#fromUdp(output, now);
  }

  /** The session that the layers above know, now that `carrier` leads to the server. */
  #carriedBy(carrier: SessionId, now: Instant): SessionId {
    if (this.#protection === undefined) return carrier;
    const { session, layer } = this.#protection;
    layer.handle({ type: "carrier", session, carrier }, now);
    this.#endpoint.handle({ type: "moved", session, validated: true }, now);
    return session;
  }

  /** Hands the outputs of each layer to the next until all are quiet. */
  #settle(now: Instant): void {
    for (;;) {
      const fromDtls = this.#dtls?.poll();
      if (fromDtls !== undefined) {
        this.#fromDtls(fromDtls, now);
        continue;
      }
      const fromUdp = this.#udp.poll();
      if (fromUdp !== undefined) {
        this.#fromUdp(fromUdp, now);
        continue;
      }
      const fromProtection = this.#protection?.layer.poll(); // new keys are known before what comes under them
      if (fromProtection !== undefined) {
        this.#fromProtection(fromProtection, now);
        continue;
      }
      const fromEndpoint = this.#endpoint.poll();
      if (fromEndpoint !== undefined) {
        this.#fromEndpoint(fromEndpoint, now);
        continue;
      }
      const output = this.client.poll();
      if (output === undefined) return;
      if (output.type === "coap") this.#endpoint.handle(output.input, now);
      else if (output.type === "resume") this.#dtls?.handle({ type: "renew" }, now);
      else this.#outbox.push(output);
    }
  }

  #fromUdp(output: TransportOutput, now: Instant): void {
    switch (output.type) {
      case "datagram":
        this.#outbox.push(output);
        break;
      case "opened":
        break; // what others want is refused by the client
      case "closed":
        this.#endpoint.handle(output, now);
        this.client.handle(output, now);
        break;
      case "received":
        this.#endpoint.handle(output, now);
        break;
      case "moved": // by `connect`, to where we chose
        this.#endpoint.handle({ ...output, validated: true }, now);
        break;
      default:
        unreachable(output);
    }
  }

  #fromProtection(output: ProtectionOutput, now: Instant): void {
    switch (output.type) {
      case "store":
        this.#store("protection", output);
        break;
      case "released":
        this.#endpoint.handle(
          { type: "released", exchange: output.ref, result: output.result },
          now,
        );
        break;
      case "ready":
        this.#endpoint.handle(output, now);
        break;
      case "dropped":
        this.#ledger.drop(output.reason);
        this.#outbox.push({ type: "dropped", reason: output.reason });
        break;
      case "moved": // the server's address has not changed: what says so came by another path of ours
      case "established":
        this.client.handle({ type: "rekeyed", session: output.session }, now);
        break;
      case "rekey":
      case "dead":
        break;
      default:
        unreachable(output);
    }
  }

  #fromDtls(output: SecureTransportOutput, now: Instant): void {
    switch (output.type) {
      case "opened":
        this.#outbox.push({ type: "secured", how: output.how });
        return this.#opened(output.session, output.how !== "kept", now);
      case "moved":
        this.#endpoint.handle({ ...output, validated: true }, now);
        return this.client.handle(
          { type: "moved", session: this.#protection?.session ?? output.session },
          now,
        );
      case "received":
        return this.#endpoint.handle(output, now);
      case "store":
        return this.#store("dtls", output);
      case "datagram":
      case "stale":
      case "handshakeFailed":
      case "keyLog":
        this.#outbox.push(output);
        return;
      default:
        unreachable(output);
    }
  }

  /** Our session goes on in a new association: what waits for an answer goes out again, and the server hears of us. */
  #opened(session: SessionId, anew: boolean, now: Instant): void {
    const again = this.#path === session;
    this.#path = session;
    if (anew) this.#endpoint.handle({ type: "moved", session, validated: true }, now);
    const above = again ? (this.#protection?.session ?? session) : this.#carriedBy(session, now);
    if (!again || !this.client.asking)
      this.client.handle({ type: "connected", session: above }, now);
  }

  #fromEndpoint(output: EndpointOutput, now: Instant): void {
    // The server answers what we ask: it speaks now.
    if (output.type === "response")
      this.#dtls?.handle({ type: "fresh", session: this.#dtls.session }, now);
    if (output.type === "send") (this.#dtls ?? this.#udp).handle(output, now);
    else if (output.type === "dropped")
      this.#outbox.push({ type: "dropped", reason: output.reason });
    // Nobody asked for fragments and new names, and a server that we chose needs no proof.
    else if (output.type !== "fragment" && output.type !== "renamed" && output.type !== "proven")
      this.client.handle(output, now);
  }
}

const NOTHING = new Ledger();
/** Answered orders that must not be obeyed twice. */
const UNSAFE_KEPT = 16;
