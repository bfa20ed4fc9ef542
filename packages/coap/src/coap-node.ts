import {
  Outbox,
  earlier,
  unreachable,
  type DatagramEvent,
  type Instant,
  type Machine,
  type Path,
  type SessionId,
} from "@godwit/base";
import { Endpoint, type EndpointOptions } from "./endpoint.ts";
import type { EndpointInput, EndpointOutput, TransportOutput } from "./endpoint-events.ts";
import { coapTuning } from "./tuning.ts";
import { UdpSessions, type UdpSessionsInput } from "./udp-sessions.ts";

type Within = "received" | "moved" | "closed";

export type CoapNodeInput =
  | DatagramEvent
  | Exclude<EndpointInput, { type: Within }>
  | Exclude<UdpSessionsInput, { type: "datagram" | "send" | "rebind" | "displace" }>;

export type CoapNodeOutput =
  | DatagramEvent
  | Exclude<EndpointOutput, { type: "send" }>
  | Extract<TransportOutput, { type: "opened" | "closed" }>;

/** CoAP over plain UDP in one machine: sessions and endpoint. For simple servers, tools and tests. */
export class CoapNode implements Machine<CoapNodeInput, CoapNodeOutput> {
  readonly sessions: UdpSessions;
  readonly endpoint: Endpoint;
  readonly #outbox = new Outbox<CoapNodeOutput>();

  constructor(options: Omit<EndpointOptions, "ledgerOf"> & { readonly firstSession?: SessionId }) {
    const tuning = options.tuning ?? coapTuning();
    this.sessions = new UdpSessions(
      tuning,
      options.firstSession === undefined ? {} : { first: options.firstSession },
    );
    const ledgerOf = this.sessions.ledgerOf.bind(this.sessions);
    this.endpoint = new Endpoint({ ...options, tuning, ledgerOf });
  }

  get wakeAt(): Instant | undefined {
    return earlier(this.sessions.wakeAt, this.endpoint.wakeAt);
  }

  /** A session towards a peer that we choose. */
  connect(path: Path, now: Instant): SessionId {
    return this.sessions.connect(path, now);
  }

  handle(input: CoapNodeInput, now: Instant): void {
    switch (input.type) {
      case "datagram":
      case "restore":
      case "pin":
      case "unpin":
      case "close":
        this.sessions.handle(input, now);
        break;
      case "adopt": {
        const from = this.endpoint.sessionOf(input.exchange);
        if (from !== undefined)
          this.sessions.handle({ type: "rebind", from, into: input.into }, now);
        this.#drainSessions(now);
        this.endpoint.handle(input, now);
        break;
      }
      case "request":
      case "proceed":
      case "remember":
      case "cancel":
      case "resumeObservation":
      case "respond":
      case "challenge":
      case "ignore":
      case "notify":
      case "unobserve":
      case "ping":
      case "validated":
      case "released":
      case "ready":
        this.endpoint.handle(input, now);
        break;
      default:
        unreachable(input);
    }
    this.#drain(now);
  }

  wake(now: Instant): void {
    this.sessions.wake(now);
    this.endpoint.wake(now);
    this.#drain(now);
  }

  poll(): CoapNodeOutput | undefined {
    return this.#outbox.take();
  }

  #drain(now: Instant): void {
    this.#drainSessions(now);
    for (;;) {
      const output = this.endpoint.poll();
      if (output === undefined) return;
      if (output.type !== "send") {
        this.#outbox.push(output);
        continue;
      }
      this.sessions.handle(output, now);
      this.#drainSessions(now);
    }
  }

  #drainSessions(now: Instant): void {
    for (;;) {
      const output = this.sessions.poll();
      if (output === undefined) return;
      switch (output.type) {
        case "datagram":
        case "opened":
          this.#outbox.push(output);
          break;
        case "closed":
          this.endpoint.handle(output, now);
          this.#outbox.push(output);
          break;
        case "received":
        case "moved":
          this.endpoint.handle(output, now);
          break;
        default:
          unreachable(output);
      }
    }
  }
}
