import type { Instant, Path, Rng } from "@godwit/base";
import type { Association } from "./association.ts";
import { ContentType, HandshakeType } from "./codes.ts";
import { CookieJar } from "./cookie.ts";
import { HelloMark } from "./hello-mark.ts";
import type { HelloStart } from "./handshake/client-hello.ts";
import { type Fragment, wholeMessage } from "./handshake/header.ts";
import { encodeHelloVerifyRequest } from "./handshake/hello-verify-request.ts";
import { plainRecord } from "./record/header.ts";
import type { RunningHandshakes } from "./running-handshakes.ts";
import type { ServerHandshake } from "./server-handshake.ts";
import type { DtlsTuning } from "./tuning.ts";

/** A ClientHello as it came. */
export type ReceivedHello = {
  readonly fragment: Fragment;
  readonly start: HelloStart;
  /** Of its record. */
  readonly sequence: number;
};

/** What becomes of a ClientHello. */
export type HelloVerdict =
  /** It has no cookie of ours: this asks for one. */
  | { readonly kind: "ask"; readonly bytes: Uint8Array }
  /** It is the one that the handshake at its path is for. */
  | { readonly kind: "again" }
  /** A new handshake begins; `gone` gives way to it. */
  | { readonly kind: "begin"; readonly mark: HelloMark; readonly gone: ServerHandshake | undefined }
  | { readonly kind: "drop"; readonly why: string };

/**
 * Decides what becomes of a ClientHello; nothing is kept for one without a cookie of ours.
 *
 *   cookie? > that of the handshake at its path? > that of the association there? > room? > begin
 */
export class HelloGate {
  readonly #tuning: DtlsTuning;
  readonly #cookies: CookieJar;
  readonly #handshakes: RunningHandshakes;

  constructor(tuning: DtlsTuning, rng: Rng, handshakes: RunningHandshakes) {
    this.#tuning = tuning;
    this.#cookies = new CookieJar(rng, tuning.cookieLength, tuning.cookiePeriod);
    this.#handshakes = handshakes;
  }

  /** `running`, `known`: the handshake and the association at the path; `associations`: how many there are. */
  judge(
    hello: ReceivedHello,
    path: Path,
    now: Instant,
    state: {
      readonly running: ServerHandshake | undefined;
      readonly known: Association | undefined;
      readonly associations: number;
    },
  ): HelloVerdict {
    const { fragment, start, sequence } = hello;
    const { running, known, associations } = state;
    const cookie = this.#cookies.wanted(path, start, now);
    if (cookie !== undefined) {
      const body = encodeHelloVerifyRequest(cookie);
      const message = wholeMessage(HandshakeType.helloVerifyRequest, fragment.messageSeq, body);
      // Its record takes the number of the hello's, which nobody has to remember then.
      return { kind: "ask", bytes: plainRecord(ContentType.handshake, sequence, message) };
    }
    const mark = new HelloMark(fragment);
    if (running?.isFor(mark, fragment, start) === true) return { kind: "again" };
    if (running === undefined && known !== undefined) {
      // Else a copy would make us repeat a flight to somebody who asked for none.
      if (mark.equals(known.helloHigh, known.helloLow))
        return { kind: "drop", why: "helloRepeated" };
    }
    if (associations >= this.#tuning.maxAssociations)
      return { kind: "drop", why: "associationsFull" };
    if (running !== undefined) return { kind: "begin", mark, gone: running };
    const room = this.#handshakes.room(path.remote.host, now);
    if (typeof room === "string") {
      return { kind: "drop", why: room === "full" ? "handshakesFull" : "handshakesShare" };
    }
    return { kind: "begin", mark, gone: room.gone };
  }
}
