import type { DatagramEvent, SocketAddress } from "@godwit/base";
import { SocketError, openUdp, type DatagramPort, type UdpPort } from "@godwit/io";

/** A UDP socket that gives way to another when the way through the NAT behind it is stale. */
export class MovingPort implements DatagramPort {
  readonly #host: string;
  #port: UdpPort;
  #receive: ((event: DatagramEvent) => void) | undefined;
  #closed = false;

  private constructor(host: string, port: UdpPort) {
    this.#host = host;
    this.#port = port;
  }

  static async open(host: string): Promise<MovingPort> {
    return new MovingPort(host, await openPort(host));
  }

  get local(): SocketAddress {
    const [local] = this.#port.local;
    if (local === undefined) throw new SocketError("there is no UDP socket", "SOCKET_FAILED");
    return local;
  }

  /** Takes a new socket, with another port, and lets go of the old one. */
  async renew(): Promise<void> {
    const next = await openPort(this.#host);
    if (this.#closed) return await next.close(); // closed while it was opened
    if (this.#receive !== undefined) next.listen(this.#receive);
    const before = this.#port;
    this.#port = next;
    await before.close();
  }

  listen(receive: (event: DatagramEvent) => void): void {
    this.#receive = receive;
    this.#port.listen(receive);
  }

  send(event: DatagramEvent): void {
    this.#port.send(event);
  }

  close(): Promise<void> {
    this.#closed = true;
    return this.#port.close();
  }
}

function openPort(host: string): Promise<UdpPort> {
  return openUdp({ host, port: 0, perAddress: false });
}
