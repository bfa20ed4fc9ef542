import type { Socket } from "node:dgram";
import type { Instant } from "@godwit/base";
import type { ClientEvents, LoadClient } from "./load-client.ts";

/** Sends datagrams as long as a protected GET, and hears them again. */
export class EchoClient implements LoadClient {
  readonly #socket: Socket;
  readonly #port: number;
  events: ClientEvents | undefined;
  waiting = false;
  askedAt: Instant = 0;

  /** `port`: the server's, on this host. */
  constructor(socket: Socket, port: number) {
    this.#socket = socket;
    this.#port = port;
  }

  ask(message: Uint8Array, now: Instant): void {
    this.waiting = true;
    this.askedAt = now;
    this.again(message);
  }

  again(message: Uint8Array): void {
    const bytes = new Uint8Array(message.length + RECORD);
    bytes.set(message);
    this.#socket.send(bytes, this.#port, HOST);
  }

  receive(): void {
    if (!this.waiting) return;
    this.waiting = false;
    this.events?.answered(this, CONTENT);
  }

  wake(): void {}
}

/** What a record with a connection id of four bytes adds. */
const RECORD = 13 + 4 + 8 + 1 + 8;
/** 2.05, what an echo counts as. */
const CONTENT = 0x45;
const HOST = "127.0.0.1";
