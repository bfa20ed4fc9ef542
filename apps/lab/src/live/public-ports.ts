import { formatAddress, type SocketAddress } from "@godwit/base";
import { openUdp, type UdpPort } from "@godwit/io";

/**
 * One real socket on loopback for each public address of a simulated NAT: the server sees a device come from a new
 * port when, and only when, its NAT gave it one. The port of a mapping that is gone stays open for late answers, until
 * too many are.
 */
export class PublicPorts {
  readonly #server: SocketAddress;
  readonly #receive: (at: SocketAddress, bytes: Uint8Array) => void;
  /** The least recently used first. */
  readonly #ports = new Map<string, Promise<UdpPort>>();
  readonly #limit: number;
  #closed = false;

  constructor(
    server: SocketAddress,
    /** Gets what comes to a public address. */
    receive: (at: SocketAddress, bytes: Uint8Array) => void,
    limit: number = MAX_PORTS,
  ) {
    this.#server = server;
    this.#receive = receive;
    this.#limit = limit;
  }

  get size(): number {
    return this.#ports.size;
  }

  /** Sends to the server, as if from `from`. */
  async send(from: SocketAddress, bytes: Uint8Array): Promise<void> {
    if (this.#closed) return;
    const port = await this.#at(from);
    const [local] = port.local;
    if (local !== undefined && !this.#closed)
      port.send({ type: "datagram", path: { local, remote: this.#server }, bytes });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const open = [...this.#ports.values()];
    this.#ports.clear();
    await Promise.all(open.map(shut));
  }

  #at(address: SocketAddress): Promise<UdpPort> {
    const name = formatAddress(address);
    const port = this.#ports.get(name) ?? this.#open(address);
    this.#ports.delete(name);
    this.#ports.set(name, port);
    if (this.#ports.size > this.#limit) {
      const [oldest, gone] = this.#ports.entries().next().value!; // there are more than the limit
      this.#ports.delete(oldest);
      void shut(gone);
    }
    return port;
  }

  async #open(address: SocketAddress): Promise<UdpPort> {
    const port = await openUdp({ host: this.#server.host, port: 0 });
    port.listen(({ path, bytes }) => {
      const { host, port: from } = path.remote;
      if (host === this.#server.host && from === this.#server.port) this.#receive(address, bytes);
    });
    return port;
  }
}

async function shut(port: Promise<UdpPort>): Promise<void> {
  await (await port).close();
}

const MAX_PORTS = 64;
