// The whole device below the sockets: raw UDP, the CoAP endpoint, the LwM2M client. One machine with datagrams, orders and
// answers of the application going in, datagrams and events coming out. It runs alike under the real driver and in the simulator.

import {
  Ledger,
  Outbox,
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
import type { ClientOptions } from "./client/options.ts";
import type { ClientInput, ClientOutput } from "./client/events.ts";
import type { ClientSnapshot } from "./client/snapshot.ts";
import { clientTuning } from "./client/tuning.ts";
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
  | Exclude<ClientOutput, { type: "coap" }>
  /** Bytes were thrown away; the ledger has counted them. */
  | { readonly type: "dropped"; readonly reason: string };

export type ClientStackOptions = ClientOptions & {
  readonly coap?: Partial<CoapTuning>;
  /** Protects all that is said to the server. It has the session already, without a carrier. */
  readonly protection?: {
    readonly layer: ProtectionLayer<never>;
    readonly session: SessionId;
  };
};

/** A device on CoAP over UDP, protected or plain. */
export class ClientStack implements Machine<ClientStackInput, ClientStackOutput> {
  readonly client: Lwm2mClient;
  readonly #udp: UdpSessions;
  readonly #endpoint: Endpoint;
  readonly #outbox = new Outbox<ClientStackOutput>();
  readonly #protection: ClientStackOptions["protection"];
  readonly #ledger = new Ledger();
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
    const { protection, rng } = options;
    this.#protection = protection;
    const ledgerOf = (session: SessionId): Ledger =>
      session === protection?.session ? this.#ledger : this.#udp.ledgerOf(session);
    this.#endpoint = new Endpoint({
      rng,
      tuning,
      ledgerOf,
      ...(protection === undefined ? {} : { protection: protection.layer }),
    });
    this.client = new Lwm2mClient(options);
  }

  get wakeAt(): Instant | undefined {
    const above = earlier(this.client.wakeAt, this.#protection?.layer.wakeAt);
    return earlier(this.#udp.wakeAt, earlier(this.#endpoint.wakeAt, above));
  }

  /** Every byte to and from the server, by purpose. */
  get ledger(): Ledger {
    if (this.#protection !== undefined) return this.#ledger;
    return this.#path === undefined ? NOTHING : this.#udp.ledgerOf(this.#path);
  }

  snapshot(): ClientSnapshot {
    return this.client.snapshot();
  }

  handle(input: ClientStackInput, now: Instant): void {
    if (input.type === "datagram") this.#udp.handle(input, now);
    else if (input.type === "connect") this.#connect(input.path, now);
    else if (input.type === "stored" || input.type === "park")
      this.#protection?.layer.handle(input, now);
    else this.client.handle(input, now);
    this.#settle(now);
  }

  wake(now: Instant): void {
    this.#udp.wake(now);
    this.#endpoint.wake(now);
    this.#protection?.layer.wake(now);
    this.client.wake(now);
    this.#settle(now);
  }

  poll(): ClientStackOutput | undefined {
    return this.#outbox.take();
  }

  #connect(path: Path, now: Instant): void {
    const there = this.#udp.connect(path, now);
    const before = this.#path;
    this.#path = there;
    const session = this.#protection?.session ?? there;
    if (this.#protection !== undefined) {
      this.#protection.layer.handle({ type: "carrier", session, carrier: there }, now);
      this.#endpoint.handle({ type: "moved", session, validated: true }, now);
    } else if (before !== undefined && before !== there)
      this.client.handle({ type: "closed", session: before }, now);
    if (before !== undefined && before !== there)
      this.#udp.handle({ type: "close", session: before }, now);
    this.client.handle({ type: "connected", session }, now);
  }

  /** Hands the outputs of each layer to the next until all are quiet. */
  #settle(now: Instant): void {
    for (;;) {
      const fromUdp = this.#udp.poll();
      if (fromUdp !== undefined) {
        this.#fromUdp(fromUdp, now);
        continue;
      }
      const fromEndpoint = this.#endpoint.poll();
      if (fromEndpoint !== undefined) {
        this.#fromEndpoint(fromEndpoint, now);
        continue;
      }
      const fromProtection = this.#protection?.layer.poll();
      if (fromProtection !== undefined) {
        this.#fromProtection(fromProtection, now);
        continue;
      }
      const output = this.client.poll();
      if (output === undefined) return;
      if (output.type === "coap") this.#endpoint.handle(output.input, now);
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
      case "moved":
        this.#endpoint.handle(output, now);
        break;
      default:
        unreachable(output);
    }
  }

  #fromProtection(output: ProtectionOutput, now: Instant): void {
    switch (output.type) {
      case "store":
        this.#outbox.push(output);
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
      case "rekey":
      case "dead":
        break;
      default:
        unreachable(output);
    }
  }

  #fromEndpoint(output: EndpointOutput, now: Instant): void {
    if (output.type === "send") this.#udp.handle(output, now);
    else if (output.type === "dropped")
      this.#outbox.push({ type: "dropped", reason: output.reason });
    else if (output.type !== "fragment") this.client.handle(output, now); // nobody asked for them
  }
}

const NOTHING = new Ledger();
/** Answered orders that must not be obeyed twice. */
const UNSAFE_KEPT = 16;
