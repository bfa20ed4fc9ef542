import {
  Outbox,
  earlier,
  unreachable,
  type DatagramEvent,
  type Instant,
  type Machine,
} from "@godwit/base";
import {
  Code,
  Endpoint,
  ResourceTree,
  response,
  type EndpointInput,
  type EndpointOutput,
} from "@godwit/coap";
import { DtlsServer, type DtlsServerOptions } from "@godwit/dtls";
import { Driver, systemRng, type DatagramPort } from "@godwit/io";
import { KEY } from "./asks.ts";

export type SecuredNodeInput = DatagramEvent | Extract<EndpointInput, { type: "respond" }>;
export type SecuredNodeOutput = DatagramEvent | Exclude<EndpointOutput, { type: "send" }>;

/** CoAP over DTLS and nothing else: every identity is known, by the benchmark's key. */
export class SecuredNode implements Machine<SecuredNodeInput, SecuredNodeOutput> {
  readonly #dtls: DtlsServer;
  readonly #endpoint: Endpoint;
  readonly #outbox = new Outbox<SecuredNodeOutput>();

  constructor() {
    this.#dtls = new DtlsServer(serverOptions());
    const ledgerOf = this.#dtls.ledgerOf.bind(this.#dtls);
    this.#endpoint = new Endpoint({ rng: systemRng(), ledgerOf });
  }

  get wakeAt(): Instant | undefined {
    return earlier(this.#dtls.wakeAt, this.#endpoint.wakeAt);
  }

  handle(input: SecuredNodeInput, now: Instant): void {
    if (input.type === "datagram") this.#dtls.handle(input, now);
    else this.#endpoint.handle(input, now);
    this.#drain(now);
  }

  wake(now: Instant): void {
    this.#dtls.wake(now);
    this.#endpoint.wake(now);
    this.#drain(now);
  }

  poll(): SecuredNodeOutput | undefined {
    return this.#outbox.take();
  }

  #drain(now: Instant): void {
    this.#drainDtls(now);
    for (let output = this.#endpoint.poll(); output; output = this.#endpoint.poll()) {
      if (output.type === "send") {
        this.#dtls.handle(output, now);
        this.#drainDtls(now);
      } else this.#outbox.push(output);
    }
  }

  #drainDtls(now: Instant): void {
    for (let output = this.#dtls.poll(); output; output = this.#dtls.poll()) {
      switch (output.type) {
        case "datagram":
          this.#outbox.push(output);
          break;
        case "received":
        case "moved":
        case "validated":
        case "closed":
          this.#endpoint.handle(output, now);
          break;
        case "opened":
          this.#endpoint.handle({ type: "validated", session: output.session }, now);
          break;
        case "lookup": {
          const { id, lookup } = output;
          if (lookup.kind === "psk") this.#dtls.handle({ type: "psk", id, key: KEY }, now);
          else this.#dtls.handle({ type: "verdict", id, verdict: { ok: true } }, now);
          break;
        }
        case "failed":
        case "stalled":
        case "keyLog":
        case "store":
          break;
        default:
          unreachable(output);
      }
    }
  }
}

export function serverOptions(): DtlsServerOptions {
  return {
    rng: systemRng(),
    credentials: { psk: true, certificates: [], clientCertificates: [] },
  };
}

/** The server under test: `/hello`, as the plain one has it. */
export function securedServer(port: DatagramPort): void {
  const world = response(Code.Content, { payload: "world" });
  const tree = new ResourceTree().add("/hello", { get: () => world });
  const driver = new Driver<SecuredNodeInput, SecuredNodeOutput>({
    machine: new SecuredNode(),
    port,
    onOutput: (output) => {
      if (output.type !== "request") return;
      const { exchange } = output;
      const answer = tree.handle(output.request, exchange);
      if (answer !== undefined) driver.feed({ type: "respond", exchange, response: answer });
    },
    onFault: ({ error }) => {
      throw error;
    },
  });
}
