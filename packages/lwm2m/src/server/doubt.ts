// After a restart a record may be one that was received before it. What comes in such a session is obeyed once its
// sender has shown, by an Echo (RFC 9175 2.3), that it speaks now.

import type { SessionId } from "@godwit/base";
import { Code, OptionNumber, type Request } from "@godwit/coap";

export class Doubt {
  /** Sessions in doubt, with how often their peer was asked. As many at most as there are sessions. */
  readonly #asked = new Map<SessionId, number>();
  /** Those of them whose peer seems to be at another address. */
  readonly #elsewhere = new Set<SessionId>();

  /** What the transport says of a datagram. */
  note(session: SessionId, fresh: boolean): void {
    if (!fresh) {
      if (!this.#asked.has(session)) this.#asked.set(session, 0);
    } else this.forget(session);
  }

  /** Its peer seems to be at another address, or `proven` where it was. */
  moved(session: SessionId, proven: boolean): void {
    if (proven) this.#elsewhere.delete(session);
    else this.#elsewhere.add(session);
  }

  has(session: SessionId): boolean {
    return this.#asked.has(session);
  }

  forget(session: SessionId): void {
    if (this.#asked.size > 0) this.#asked.delete(session);
    if (this.#elsewhere.size > 0) this.#elsewhere.delete(session);
  }

  /** `proven`: the request carried a good Echo, or the peer was seen to speak now in another way. */
  judge(session: SessionId, request: Request, proven: boolean): "obey" | "fresh" | "ask" | "close" {
    const asked = this.#asked.get(session);
    if (asked === undefined) return "obey";
    if (proven) {
      this.forget(session);
      return "fresh";
    }
    // Whoever recorded it may send it from anywhere: nothing is obeyed, and the session does not end for it.
    if (this.#elsewhere.has(session)) return "ask";
    if (isHarmless(request)) return "obey";
    this.#asked.set(session, asked + 1);
    return asked < MAX_ASKED ? "ask" : "close";
  }
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

/** Who asks again and again without our Echo does not know it: a new handshake proves as much. */
const MAX_ASKED = 3;
const LOCATION_SEGMENTS = 2;
