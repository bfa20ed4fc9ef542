import { UsageError, type SocketAddress } from "@godwit/base";
import { headerSize, ipBytes } from "./ip.ts";

/** `host number * 65536 + port`: one number, so that tables of endpoints need no strings. */
export type Endpoint = number;

/** Gives every IP address that a world has seen a small number. */
export class AddressBook {
  readonly #numbers = new Map<string, number>();
  readonly #hosts: string[] = [];
  readonly #headers: number[] = [];

  /** The number of `host`. Throws UsageError unless it is a printed IP address. */
  number(host: string): number {
    const known = this.#numbers.get(host);
    if (known !== undefined) return known;
    ipBytes(host);
    this.#hosts.push(host);
    this.#headers.push(headerSize(host));
    this.#numbers.set(host, this.#hosts.length - 1);
    return this.#hosts.length - 1;
  }

  endpoint(address: SocketAddress): Endpoint {
    if (!Number.isInteger(address.port) || address.port < 0 || address.port > 0xffff)
      throw new UsageError(`no port: ${address.port}`);
    return this.number(address.host) * PORTS + address.port;
  }

  address(endpoint: Endpoint): SocketAddress {
    return { host: this.host(hostOf(endpoint)), port: portOf(endpoint) };
  }

  host(number: number): string {
    return this.#hosts[number]!; // numbers come from this book
  }

  /** IP and UDP header bytes before a payload to this endpoint. */
  headers(endpoint: Endpoint): number {
    return this.#headers[hostOf(endpoint)]!; // endpoints come from this book
  }
}

export function hostOf(endpoint: Endpoint): number {
  return Math.floor(endpoint / PORTS);
}

export function portOf(endpoint: Endpoint): number {
  return endpoint % PORTS;
}

export function endpointOf(hostNumber: number, port: number): Endpoint {
  return hostNumber * PORTS + port;
}

const PORTS = 0x1_0000;
