import type { Socket } from "node:dgram";
import { EMPTY, type Path } from "@godwit/base";
import { DtlsClient } from "@godwit/dtls";
import { systemRng } from "@godwit/io";
import { KEY } from "./asks.ts";
import { SERVER, bindAt } from "./socket.ts";

/** A device's end of a DTLS session with a Connection ID: one handshake or one CoAP exchange at a time. */
export class CidClient {
  /** The connection id that the server gave it, as its records show it. */
  cid: Uint8Array = EMPTY;
  readonly #dtls: DtlsClient;
  readonly #socket: Socket;
  readonly #path: Path;
  #number = 0;
  /** Waits for the session, or for the answer with this message id. */
  #waiting: { readonly mid: number | undefined; done(answer: Uint8Array): void } | undefined;

  private constructor(socket: Socket, port: number, identity: string) {
    this.#socket = socket;
    this.#path = {
      local: { host: SERVER, port: socket.address().port },
      remote: { host: SERVER, port },
    };
    this.#dtls = new DtlsClient({
      rng,
      credentials: { kind: "psk", identity, key: KEY },
      connectionId: EMPTY,
    });
  }

  /** `port`: where the server speaks DTLS. Undefined where there are no more sockets. */
  static async open(port: number, identity: string): Promise<CidClient | undefined> {
    const made: { client?: CidClient } = {};
    const socket = await bindAt(SERVER, (bytes) => made.client?.receive(bytes));
    if (socket !== undefined) made.client = new CidClient(socket, port, identity);
    return made.client;
  }

  /** False: not in `ms`. */
  async handshake(how: "full" | "resume", ms: number): Promise<boolean> {
    const opened = this.#wait(undefined, ms, () => this.#wake());
    const connect = { type: "connect", session: SESSION, path: this.#path, how } as const;
    this.#dtls.handle(connect, performance.now());
    this.#drain();
    return (await opened) !== undefined;
  }

  /**
   * Says a CoAP message, under a message id and a token of its own, again and again as RFC 7252 4.2 has it; its answer.
   * Undefined: none in `ms`. `again` hears of each retransmission.
   */
  async ask(message: Uint8Array, ms: number, again?: () => void): Promise<Uint8Array | undefined> {
    this.#number = (this.#number + 1) & 0xffff;
    const bytes = Uint8Array.from(message);
    bytes[2] = this.#number >>> 8;
    bytes[3] = this.#number;
    if (bytes.length >= 8) bytes.set(bytes.subarray(2, 4), 4);
    let next = performance.now() + ACK_TIMEOUT;
    let wait = ACK_TIMEOUT;
    const answer = this.#wait(this.#number, ms, () => {
      if (performance.now() < next) return;
      wait *= 2;
      next += wait;
      again?.();
      this.#send(bytes);
    });
    this.#send(bytes);
    return await answer;
  }

  /** Sends bytes of nobody's making from the address of this session. */
  abuse(bytes: Uint8Array): void {
    this.#socket.send(bytes, this.#path.remote.port, SERVER);
  }

  close(): void {
    this.#socket.close();
  }

  #send(bytes: Uint8Array): void {
    this.#dtls.handle({ type: "send", session: SESSION, bytes }, performance.now());
    this.#drain();
  }

  #wait(mid: number | undefined, ms: number, tick: () => void): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => {
      const deadline = performance.now() + ms;
      const end = (answer: Uint8Array | undefined): void => {
        clearInterval(timer);
        this.#waiting = undefined;
        resolve(answer);
      };
      const timer = setInterval(
        () => (performance.now() >= deadline ? end(undefined) : tick()),
        100,
      );
      this.#waiting = { mid, done: end };
    });
  }

  /** What came to its socket. */
  receive(bytes: Uint8Array): void {
    this.#dtls.handle({ type: "datagram", path: this.#path, bytes }, performance.now());
    this.#drain();
  }

  #wake(): void {
    if ((this.#dtls.wakeAt ?? Infinity) > performance.now()) return;
    this.#dtls.wake(performance.now());
    this.#drain();
  }

  #drain(): void {
    for (let output = this.#dtls.poll(); output; output = this.#dtls.poll()) {
      if (output.type === "datagram") {
        if (output.bytes[0] === TLS12_CID) this.cid = output.bytes.slice(11, 15);
        this.#socket.send(output.bytes, output.path.remote.port, SERVER);
      } else if (output.type === "opened" && this.#waiting?.mid === undefined) {
        this.#waiting?.done(EMPTY);
      } else if (output.type === "received") {
        const { bytes } = output;
        const mid = bytes.length < 4 ? undefined : (bytes[2]! << 8) | bytes[3]!; // four at least
        if (mid !== undefined && mid === this.#waiting?.mid) this.#waiting.done(bytes);
      }
    }
  }
}

const rng = systemRng();
const SESSION = 1;
const TLS12_CID = 25;
/** ms, RFC 7252 4.8. */
const ACK_TIMEOUT = 2_000;
