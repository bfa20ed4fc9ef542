// After a restart a record may be one that was received before it, and nobody knows which. What comes in such a session is
// obeyed once its sender has shown that it speaks now:
//
//   first request ──> 4.01 with Echo (RFC 9175 2.3) ──Echo comes back──> obeyed
//                            └──next request without it: its sender knows no Echo
//                                     ──> no answer, and a request of our own under a token nobody can guess
//                                             ├──answered──> the repetition of the request is obeyed
//                                             └──nothing for `PROOF_PATIENCE`──> close_notify: a new handshake proves as much
//
// A replay can bring about all of this, but no more than that: the answer to our request can only come from the peer, and
// close_notify to an address that was not proven does not end the session.

import { EMPTY, type Instant, type Rng, type SessionId } from "@godwit/base";
import { Code, OptionNumber, request, type Request } from "@godwit/coap";

/** What to do with a request. "ignore": it shall come again; "dismiss": close_notify to where it came from. */
export type Judgement = "obey" | "fresh" | "ask" | "prove" | "ignore" | "dismiss" | "close";

export class RestartReplayGuard {
  /** Sessions in doubt. As many at most as there are sessions. */
  readonly #suspects = new Map<SessionId, Suspect>();
  /** Those of them whose peer seems to be at another address. */
  readonly #elsewhere = new Set<SessionId>();

  /** What the transport says of a datagram. */
  note(session: SessionId, fresh: boolean): void {
    if (fresh) this.forget(session);
    else if (!this.#suspects.has(session)) this.#suspects.set(session, NOT_ASKED);
  }

  /** Its peer seems to be at another address, or `proven` where it was. */
  moved(session: SessionId, proven: boolean): void {
    if (proven) this.#elsewhere.delete(session);
    else this.#elsewhere.add(session);
  }

  has(session: SessionId): boolean {
    return this.#suspects.has(session);
  }

  forget(session: SessionId): void {
    this.#suspects.delete(session);
    this.#elsewhere.delete(session);
  }

  /** `echoed`: the request carried a good Echo. */
  judge(session: SessionId, asked: Request, echoed: boolean, now: Instant): Judgement {
    const suspect = this.#suspects.get(session);
    if (suspect === undefined) return "obey";
    if (echoed) {
      this.forget(session);
      return "fresh";
    }
    // Whoever recorded it may send it from anywhere: then nothing is obeyed.
    const elsewhere = this.#elsewhere.has(session);
    if (!elsewhere && isHarmless(asked)) return "obey";
    switch (suspect.state) {
      case "notAsked":
        this.#suspects.set(session, { state: "asked" });
        return "ask";
      case "asked":
        this.#suspects.set(session, { state: "proving", since: now });
        return "prove";
      case "proving":
        if (now - suspect.since < PROOF_PATIENCE) return "ignore";
        break;
      case "silent":
    }
    return elsewhere ? "dismiss" : "close";
  }

  /** Our own request was answered (true: then the peer speaks now), or it was not. Says whether it was waited for. */
  proved(session: SessionId, answered: boolean): boolean {
    const suspect = this.#suspects.get(session);
    if (suspect?.state !== "proving") return false;
    if (answered) this.forget(session);
    else this.#suspects.set(session, { state: "silent" });
    return true;
  }
}

type Suspect =
  | { readonly state: "notAsked" | "asked" | "silent" }
  | { readonly state: "proving"; readonly since: Instant };

/** Under this number the stack sends its own request to a session's peer; the server's count up from 1. */
export function proofId(session: SessionId): number {
  return -session;
}

/** A request that does nothing, whatever it is answered. */
export const PROOF: Request = request(Code.GET, { path: "/-" });

/** As hard to guess as an Echo: who answers it has received it. */
export function proofToken(rng: Rng): Uint8Array {
  return rng.bytes(PROOF_TOKEN);
}

/** Whether an answer under `token` answers the proof itself. */
export function isProofToken(token: Uint8Array = EMPTY): boolean {
  return token.length === PROOF_TOKEN;
}

/** A bare Update: obeyed twice it does no more than obeyed once. */
function isHarmless({ code, options, payload }: Request): boolean {
  if (code === Code.GET) return true;
  return (
    code === Code.POST &&
    payload.length === 0 &&
    options.every(({ number }) => number === OptionNumber.UriPath) &&
    options.length === LOCATION_SEGMENTS
  );
}

const NOT_ASKED: Suspect = { state: "notAsked" };
const PROOF_TOKEN = 8;
/** ms; two retransmissions of our request. */
const PROOF_PATIENCE = 10_000;
const LOCATION_SEGMENTS = 2;
