import { createSocket, type RemoteInfo, type Socket, type SocketOptions } from "node:dgram";
import { isIP } from "node:net";
import {
  Arena,
  formatAddress,
  UsageError,
  type DatagramEvent,
  type SocketAddress,
} from "@godwit/base";
import type { DatagramPort } from "./driver.ts";
import { kernelDrops } from "./kernel-drops.ts";
import { isWildcard, localAddresses } from "./local-addresses.ts";
import { IO_TUNING } from "./tuning.ts";

/**
 * Sockets of one port on one address or, for a wildcard, on each address of this host. An unbound answer leaves
 * from the address the routing table likes best, which behind a NAT is not the one that was asked and never
 * arrives; a socket of its own per address answers from there.
 *
 * Sockets are never connected: ICMP errors can be forged and end nothing here.
 */
export class UdpPort implements DatagramPort {
  readonly counters: UdpCounters = {
    received: 0,
    sent: 0,
    sendErrors: 0,
    sendQueueFull: 0,
    noSocket: 0,
    otherSocket: 0,
  };
  readonly #options: UdpOptions;
  readonly #sockets: Bound[] = [];
  readonly #notes: UdpNote[] = [];
  /** What is sent: the kernel, or a queue before it, looks at it outside the heap. */
  readonly #outgoing = new Arena(SEND_ROOM);
  #port: number;
  #receive: ((event: DatagramEvent) => void) | undefined;
  #rescan: NodeJS.Timeout | undefined;
  #scanning = false;
  #closed = false;

  private constructor(options: UdpOptions) {
    this.#options = options;
    this.#port = options.port;
  }

  /** Use {@link openUdp}. */
  static async open(options: UdpOptions): Promise<UdpPort> {
    const port = new UdpPort(options);
    const { host } = options;
    try {
      if (!isWildcard(host) || options.perAddress === false) {
        await port.#bind(host);
      } else {
        await port.#bindAll(host);
        port.#rescan = setInterval(() => void port.rescan(), IO_TUNING.rescanEvery);
        port.#rescan.unref();
      }
    } catch (error) {
      await port.close();
      throw error;
    }
    return port;
  }

  /** What is bound now, one address per socket. */
  get local(): readonly SocketAddress[] {
    return this.#sockets.map(({ local }) => local);
  }

  /** The number that all its sockets have. */
  get port(): number {
    return this.#port;
  }

  /** What an operator should know about the sockets: sizes the kernel did not grant, addresses left out. */
  get notes(): readonly UdpNote[] {
    return this.#notes;
  }

  /** See {@link kernelDrops}. */
  get kernelDrops(): number | undefined {
    return kernelDrops(this.local);
  }

  listen(receive: (event: DatagramEvent) => void): void {
    if (this.#receive !== undefined) throw new UsageError("this port has its listener already");
    this.#receive = receive;
    for (const bound of this.#sockets) this.#attach(bound);
  }

  send(event: DatagramEvent): void {
    const { path, bytes } = event;
    const bound = this.#from(path.local);
    if (bound === undefined) {
      this.counters.noSocket += 1;
      return;
    }
    const { socket } = bound;
    if ((this.counters.sent & 63) === 0 || bound.full) {
      bound.full = socket.getSendQueueSize() > IO_TUNING.sendQueueBytes;
      if (bound.full) {
        this.counters.sendQueueFull += 1;
        return;
      }
    }
    this.counters.sent += 1;
    const sent = bytes.length > IN_HEAP ? bytes : this.#outgoing.copy(bytes);
    try {
      socket.send(sent, path.remote.port, path.remote.host, this.#sent);
    } catch {
      this.counters.sendErrors += 1; // a port of 0 or above 65535: refused before the kernel sees it
    }
  }

  /** Binds addresses that have appeared since, and lets go of those that went. Runs by itself for a wildcard. */
  async rescan(): Promise<void> {
    const { host } = this.#options;
    if (this.#closed || this.#scanning || !isWildcard(host) || this.#options.perAddress === false)
      return;
    this.#scanning = true;
    try {
      const wanted = new Set(localAddresses(host));
      for (const bound of this.#sockets.filter(({ local }) => !wanted.has(local.host))) {
        this.#sockets.splice(this.#sockets.indexOf(bound), 1);
        bound.socket.close();
        this.#note({ kind: "gone", address: bound.local });
      }
      for (const address of wanted) {
        if (this.#closed) return;
        if (this.#sockets.some(({ local }) => local.host === address)) continue;
        try {
          const bound = await this.#bind(address);
          this.#note({ kind: "appeared", address: bound.local });
        } catch {
          // an address that is still being set up; the next scan finds it again
        }
      }
    } finally {
      this.#scanning = false;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#rescan);
    const sockets = this.#sockets.splice(0);
    await Promise.all(
      sockets.map(({ socket }) => new Promise<void>((resolve) => socket.close(() => resolve()))),
    );
  }

  /** One socket per address, all with the same port, also where the system chooses it. */
  async #bindAll(wildcard: string): Promise<void> {
    const addresses = localAddresses(wildcard);
    for (let attempt = 1; ; attempt++) {
      try {
        for (const address of addresses) await this.#bindOrLeaveOut(address);
        break;
      } catch (error) {
        // The port the system chose for the first address may be taken on another one.
        if (this.#options.port !== 0 || attempt === PORT_ATTEMPTS) throw error;
        for (const { socket } of this.#sockets.splice(0)) socket.close();
        this.#port = 0;
      }
    }
    if (this.#sockets.length === 0)
      throw new SocketError(`no address to bind for ${wildcard}`, "SOCKET_FAILED");
  }

  /** An address may be there and not usable yet (IPv6 still looks for duplicates); the others serve meanwhile. */
  async #bindOrLeaveOut(address: string): Promise<void> {
    try {
      await this.#bind(address);
    } catch (error) {
      const { code } = (error as Error).cause as NodeJS.ErrnoException;
      if (code !== "EADDRNOTAVAIL" && code !== "EINVAL") throw error;
      this.#note({ kind: "left-out", address: { host: address, port: this.#port } });
    }
  }

  async #bind(host: string): Promise<Bound> {
    const family = host.includes(":") ? 6 : 4;
    const socket = createSocket({
      type: family === 6 ? "udp6" : "udp4",
      ipv6Only: family === 6 && host !== "::",
      // Addresses are numbers already; this spares each datagram a turn through the resolver.
      lookup: (address: string, _options: unknown, found: Found) => found(null, address, family),
      ...reusePort(this.#options),
    } as SocketOptions);
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once("error", reject);
        socket.bind({ port: this.#port, address: host }, () => {
          socket.off("error", reject);
          resolve();
        });
      });
    } catch (error) {
      socket.close();
      throw bindError(error as NodeJS.ErrnoException, { host, port: this.#port });
    }
    socket.on("error", () => (this.counters.sendErrors += 1));
    this.#port = socket.address().port;
    const bound: Bound = { socket, local: { host, port: this.#port }, full: false };
    if (this.#closed) {
      socket.close();
      return bound;
    }
    this.#sizeBuffer(bound);
    this.#sockets.push(bound);
    if (this.#receive !== undefined) this.#attach(bound);
    return bound;
  }

  #sizeBuffer({ socket, local }: Bound): void {
    const wanted = this.#options.receiveBuffer ?? IO_TUNING.receiveBuffer;
    try {
      socket.setRecvBufferSize(wanted);
    } catch {
      // BSDs refuse what Linux shortens; what there is, is read back below
    }
    const granted = usableBuffer(socket.getRecvBufferSize());
    if (granted < wanted) this.#note({ kind: "receive-buffer", address: local, wanted, granted });
  }

  #attach({ socket, local }: Bound): void {
    const receive = this.#receive!; // attached once there is a listener
    const { counters } = this;
    socket.on("message", (message: Buffer, from: RemoteInfo) => {
      counters.received += 1;
      receive({
        type: "datagram",
        path: { local, remote: { host: from.address, port: from.port } },
        // A plain Uint8Array: `slice` of a Buffer means something else, and below this line nobody knows Buffers.
        bytes: new Uint8Array(message.buffer, message.byteOffset, message.byteLength),
      });
    });
  }

  /** The socket of a local address. A session may outlive it: then another of its family stands in. */
  #from(local: SocketAddress): Bound | undefined {
    for (const bound of this.#sockets) if (bound.local === local) return bound;
    for (const bound of this.#sockets) {
      if (bound.local.host === local.host && bound.local.port === local.port) return bound;
    }
    const v6 = local.host.includes(":");
    const standIn = this.#sockets.find((bound) => bound.local.host.includes(":") === v6);
    if (standIn !== undefined) this.counters.otherSocket += 1;
    return standIn;
  }

  #note(note: UdpNote): void {
    if (this.#notes.length === NOTES) this.#notes.shift();
    this.#notes.push(note);
    this.#options.onNote?.(note);
  }

  readonly #sent = (error: Error | null): void => {
    if (error !== null) this.counters.sendErrors += 1;
  };
}

/**
 * Opens a UDP port. Rejects with a message that says what to do where it cannot be bound.
 * @throws UsageError where `host` is a name or `port` out of range.
 */
export async function openUdp(options: UdpOptions): Promise<UdpPort> {
  const { host, port } = options;
  if (isIP(host) === 0) throw new UsageError(`not an IP address: ${host}`);
  if (!Number.isInteger(port) || port < 0 || port > 0xffff)
    throw new UsageError(`not a port: ${port}`);
  return UdpPort.open(options);
}

export type UdpOptions = {
  /** An IP address; "0.0.0.0" and "::" for all of this host. */
  readonly host: string;
  /** 0: the system chooses. */
  readonly port: number;
  /** Bytes the kernel should hold for each socket. */
  readonly receiveBuffer?: number;
  /** Several processes on one port, told apart by the kernel; from Node 22.12. */
  readonly reusePort?: boolean;
  /**
   * What a wildcard means. True (the default, for servers): a socket per address. False (for clients, who speak
   * first and move between networks): one socket, its source chosen by the routing table.
   */
  readonly perAddress?: boolean;
  readonly onNote?: (note: UdpNote) => void;
};

export type UdpNote =
  | {
      readonly kind: "receive-buffer";
      readonly address: SocketAddress;
      readonly wanted: number;
      readonly granted: number;
    }
  | { readonly kind: "left-out" | "appeared" | "gone"; readonly address: SocketAddress };

/** A note as a sentence for the log. */
export function describeUdpNote(note: UdpNote): string {
  const address = formatAddress(note.address);
  switch (note.kind) {
    case "receive-buffer":
      return `${address}: the kernel grants ${note.granted} of ${note.wanted} bytes of receive buffer; allow more with: sysctl -w net.core.rmem_max=${note.wanted}`;
    case "left-out":
      return `${address}: not usable yet; tried again later`;
    case "appeared":
      return `${address}: appeared, now bound`;
    case "gone":
      return `${address}: gone, closed`;
  }
}

export type UdpCounters = {
  received: number;
  sent: number;
  sendErrors: number;
  /** Dropped because the send queue was full. */
  sendQueueFull: number;
  /** Dropped because no socket of the family is left. */
  noSocket: number;
  /** Sent from another socket than asked, whose address is gone. */
  otherSocket: number;
};

type Bound = { readonly socket: Socket; readonly local: SocketAddress; full: boolean };
type Found = (error: null, address: string, family: number) => void;

function reusePort(options: UdpOptions): object {
  if (options.reusePort !== true) return {};
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const able = major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
  if (!able) {
    throw new UsageError(`reusePort needs Node 22.12 or later; this is ${process.version}`);
  }
  return { reusePort: true };
}

/** A UDP socket could not be opened; the message says what to do. */
export class SocketError extends Error {
  override readonly name = "SocketError";
  /** `SOCKET_` and what the system said, such as `SOCKET_EADDRINUSE`; `SOCKET_FAILED` for the rest. */
  readonly code: (typeof SOCKET_ERROR_CODES)[number];

  constructor(message: string, code: SocketError["code"], cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

export const SOCKET_ERROR_CODES = [
  "SOCKET_EADDRINUSE",
  "SOCKET_EACCES",
  "SOCKET_EADDRNOTAVAIL",
  "SOCKET_EAFNOSUPPORT",
  "SOCKET_FAILED",
] as const;

function bindError(cause: NodeJS.ErrnoException, address: SocketAddress): SocketError {
  const what = ADVICE.get(cause.code ?? "") ?? cause.message;
  const code = SOCKET_ERROR_CODES.find((one) => one === `SOCKET_${cause.code}`) ?? "SOCKET_FAILED";
  return new SocketError(`cannot bind UDP ${formatAddress(address)}: ${what}`, code, cause);
}

/** Linux doubles what is asked for its own bookkeeping and tells the double. */
function usableBuffer(told: number): number {
  return process.platform === "linux" ? told >> 1 : told;
}

const ADVICE: ReadonlyMap<string, string> = new Map([
  ["EADDRINUSE", "another program has this port; stop it or choose another port"],
  ["EACCES", "not allowed; ports below 1024 need root or CAP_NET_BIND_SERVICE"],
  ["EADDRNOTAVAIL", "this host has no such address; see `ip address` for those it has"],
  ["EAFNOSUPPORT", "this host has no IPv6; bind an IPv4 address"],
]);

/** V8 has typed arrays of up to so many bytes in its heap. */
const IN_HEAP = 64;
const SEND_ROOM = 65_536;
const PORT_ATTEMPTS = 10;
const NOTES = 100;
