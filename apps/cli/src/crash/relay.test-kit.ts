// Stands between devices and server, as a NAT does: a socket towards the server for each address of a device.

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { AuditedPath, type NonceAudit } from "./nonce-audit.test-kit.ts";

/** Shows an audit all that passes, if there is one. */
export class Relay {
  /** The link is dead: nothing passes, either way. */
  isCut = false;
  readonly #socket: Socket;
  readonly #audit: NonceAudit | undefined;
  readonly #server: { readonly port: number };
  readonly #ways = new Map<string, Way>();
  #round = 0;

  private constructor(
    socket: Socket,
    audit: NonceAudit | undefined,
    server: { readonly port: number },
  ) {
    this.#socket = socket;
    this.#audit = audit;
    this.#server = server;
    socket.on("message", (datagram, from) => this.#fromDevice(datagram, from));
  }

  static async open(
    audit: NonceAudit | undefined,
    server: { readonly port: number },
  ): Promise<Relay> {
    return new Relay(await bound(), audit, server);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** After a round: what has been silent for some of them is closed. */
  age(): void {
    this.#round += 1;
    for (const [key, way] of this.#ways) {
      if (this.#round - way.round < KEPT) continue;
      this.#ways.delete(key);
      way.socket.close();
    }
  }

  close(): void {
    this.#socket.close();
    for (const { socket } of this.#ways.values()) socket.close();
  }

  #fromDevice(datagram: Uint8Array, from: RemoteInfo): void {
    const key = `${from.address}:${from.port}`;
    let way = this.#ways.get(key);
    if (way === undefined) {
      way = { socket: createSocket("udp4"), path: new AuditedPath(), round: this.#round };
      this.#ways.set(key, way);
      const { path, socket } = way;
      const answered = way;
      socket.on("message", (answer) => {
        if (this.isCut) return;
        answered.round = this.#round;
        this.#audit?.see(path, "server", answer);
        this.#socket.send(answer, from.port, from.address);
      });
    }
    way.round = this.#round;
    if (this.isCut) return;
    this.#audit?.see(way.path, "device", datagram);
    way.socket.send(datagram, this.#server.port, "127.0.0.1");
  }
}

type Way = { readonly socket: Socket; readonly path: AuditedPath; round: number };

async function bound(): Promise<Socket> {
  const socket = createSocket({ type: "udp4", recvBufferSize: 4 * 1_024 * 1_024 });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return socket;
}

/** Rounds. */
const KEPT = 12;
