import type { Socket } from "node:dgram";
import { EMPTY, unreachable, type Instant, type Path } from "@godwit/base";
import { DtlsClient, type DtlsOutput } from "@godwit/dtls";
import { systemRng } from "@godwit/io";
import { KEY } from "./asks.ts";
import type { ClientEvents, LoadClient } from "./load-client.ts";

/** One association with one server, from a socket of its own. */
export class SecuredClient implements LoadClient {
  readonly dtls: DtlsClient;
  readonly #path: Path;
  readonly #socket: Socket;
  events: ClientEvents | undefined;
  /** Of the request under way; its low half is the message id. */
  number = 0;
  waiting = false;
  askedAt: Instant = 0;

  constructor(socket: Socket, path: Path, identity: string, connectionId: boolean) {
    this.#socket = socket;
    this.#path = path;
    this.dtls = new DtlsClient({
      rng,
      credentials: { kind: "psk", identity, key: KEY },
      ...(connectionId ? { connectionId: EMPTY } : {}),
    });
  }

  connect(how: "full" | "resume", now: Instant): void {
    this.askedAt = now;
    this.waiting = true;
    this.dtls.handle({ type: "connect", session: SESSION, path: this.#path, how }, now);
    this.#drain();
  }

  /** Says goodbye; nothing is waited for. */
  close(now: Instant): void {
    this.dtls.handle({ type: "close", session: SESSION }, now);
    this.#drain();
  }

  /** Sends `message` with a message id and a token of its own. */
  ask(message: Uint8Array, now: Instant): void {
    this.number += 1;
    this.waiting = true;
    this.askedAt = now;
    this.again(message, now);
  }

  again(message: Uint8Array, now: Instant): void {
    const { number } = this;
    message[2] = number >>> 8;
    message[3] = number;
    for (let i = 0; i < 4; i++) message[4 + i] = number >>> (24 - 8 * i);
    this.dtls.handle({ type: "send", session: SESSION, bytes: message }, now);
    this.#drain();
  }

  receive(bytes: Uint8Array, now: Instant): void {
    this.dtls.handle({ type: "datagram", path: this.#path, bytes }, now);
    this.#drain();
  }

  wake(now: Instant): void {
    if ((this.dtls.wakeAt ?? Infinity) > now) return;
    this.dtls.wake(now);
    this.#drain();
  }

  #drain(): void {
    for (let output = this.dtls.poll(); output; output = this.dtls.poll()) this.#act(output);
  }

  #act(output: DtlsOutput): void {
    switch (output.type) {
      case "datagram":
        this.#socket.send(output.bytes, output.path.remote.port, output.path.remote.host);
        return;
      case "opened":
        this.waiting = false;
        return this.events?.opened(this);
      case "failed":
        this.waiting = false;
        return this.events?.failed(this, output.why);
      case "received":
        if (this.waiting && this.#isAnswer(output.bytes)) {
          this.waiting = false;
          this.events?.answered(this, output.bytes[1]!); // eight at least
        }
        return;
      case "closed":
      case "moved":
      case "validated":
      case "lookup":
      case "stalled":
      case "keyLog":
      case "store":
        return;
      default:
        unreachable(output);
    }
  }

  #isAnswer(bytes: Uint8Array): boolean {
    if (bytes.length < 8 || bytes[0] !== ACK_WITH_TOKEN) return false;
    const token = ((bytes[4]! << 24) | (bytes[5]! << 16) | (bytes[6]! << 8) | bytes[7]!) >>> 0; // eight at least
    return token === this.number;
  }
}

const rng = systemRng();
const SESSION = 1;
/** Version 1, ACK, token of 4 bytes. */
const ACK_WITH_TOKEN = 0x64;
