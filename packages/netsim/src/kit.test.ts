// What the tests of this package share: a machine that says what it is told and remembers what it heard.
import {
  formatAddress,
  Outbox,
  utf8,
  fromUtf8,
  type DatagramEvent,
  type Instant,
  type Machine,
  type SocketAddress,
} from "@godwit/base";
import type { Host } from "./host.ts";
import type { Node } from "./node.ts";

type Say = { readonly type: "say"; readonly to: SocketAddress; readonly text: string };
type Heard = { readonly type: "heard"; readonly from: string; readonly text: string };

export class Mouth implements Machine<Say | DatagramEvent, Heard | DatagramEvent> {
  readonly heard: { at: Instant; from: string; text: string }[] = [];
  readonly #answers: boolean;
  readonly #out = new Outbox<Heard | DatagramEvent>();

  constructor(answers = false) {
    this.#answers = answers;
  }

  get wakeAt(): undefined {
    return undefined;
  }

  handle(input: Say | DatagramEvent, now: Instant): void {
    if (input.type === "say") {
      const path = { local: ANY, remote: input.to };
      this.#out.push({ type: "datagram", path, bytes: utf8(input.text) });
      return;
    }
    const heard = { from: formatAddress(input.path.remote), text: fromUtf8(input.bytes) };
    this.heard.push({ at: now, ...heard });
    this.#out.push({ type: "heard", ...heard });
    if (this.#answers && heard.text !== "") this.#out.push({ ...input, bytes: utf8("") });
  }

  wake(): void {}

  poll(): Heard | DatagramEvent | undefined {
    return this.#out.take();
  }
}

/** A host with one Mouth, and shorthands for it. */
export class Talker {
  readonly host: Host;
  readonly mouth: Mouth;
  readonly node: Node<Say | DatagramEvent, Heard | DatagramEvent>;

  constructor(host: Host, port: number, options: { answers?: boolean; address?: string } = {}) {
    this.host = host;
    this.mouth = new Mouth(options.answers);
    this.node = host.attach(port, this.mouth, { address: options.address ?? host.address });
  }

  get address(): SocketAddress {
    return this.node.address;
  }

  say(to: SocketAddress | string, text = "x"): void {
    this.node.feed({ type: "say", to: typeof to === "string" ? parse(to) : to, text });
  }

  /** Texts heard so far. */
  get texts(): string[] {
    return this.mouth.heard.map(({ text }) => text);
  }

  /** Where what it heard came from, as it appeared here. */
  get sources(): string[] {
    return this.mouth.heard.map(({ from }) => from);
  }

  /** The last source. */
  get source(): string {
    return this.sources.at(-1) ?? "nobody";
  }
}

function parse(text: string): SocketAddress {
  const at = text.lastIndexOf(":");
  return { host: text.slice(0, at), port: Number(text.slice(at + 1)) };
}

const ANY: SocketAddress = { host: "0.0.0.0", port: 0 };
