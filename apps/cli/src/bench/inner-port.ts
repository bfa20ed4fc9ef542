import type { DatagramEvent, Path } from "@godwit/base";
import type { DatagramPort } from "@godwit/io";

/** A port without a socket: what comes from it is made up, with any source address. */
export class InnerPort implements DatagramPort {
  sent = 0;
  #receive: ((event: DatagramEvent) => void) | undefined;

  listen(receive: (event: DatagramEvent) => void): void {
    this.#receive = receive;
  }

  send(): void {
    this.sent += 1;
  }

  async close(): Promise<void> {}

  arrive(source: Path["remote"], bytes: Uint8Array): void {
    this.#receive?.({ type: "datagram", path: { local: LOCAL, remote: source }, bytes });
  }
}

/** The n-th of 2^32 sources, spread over 198.18.0.0/15 (RFC 2544) and its ports. */
export function source(n: number): Path["remote"] {
  const host = `198.${18 + ((n >>> 16) & 1)}.${(n >>> 8) & 0xff}.${n & 0xff}`;
  return { host, port: 1_024 + (n >>> 17) };
}

const LOCAL = { host: "192.0.2.1", port: 5_683 };
