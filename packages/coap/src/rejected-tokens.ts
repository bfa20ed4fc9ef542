import { toHex, type SessionId } from "@godwit/base";

/** Tokens of notifications that were rejected, by session: the newest few of the newest few sessions. */
export class RejectedTokens {
  readonly #bySession = new Map<SessionId, Map<string, Uint8Array>>();

  note(session: SessionId, token: Uint8Array): void {
    if (token.length === 0) return;
    const those = this.#bySession.get(session) ?? new Map<string, Uint8Array>();
    this.#bySession.delete(session);
    this.#bySession.set(session, those);
    those.set(toHex(token), token.slice());
    if (those.size > TOKENS) those.delete(those.keys().next().value!); // there is one
    if (this.#bySession.size > SESSIONS)
      this.#bySession.delete(this.#bySession.keys().next().value!); // likewise
  }

  /** Those of a session, which are forgotten. */
  take(session: SessionId): Iterable<Uint8Array> {
    if (this.#bySession.size === 0) return NONE;
    const those = this.#bySession.get(session);
    this.#bySession.delete(session);
    return those?.values() ?? NONE;
  }
}

const TOKENS = 16;
const SESSIONS = 1_000;
const NONE: readonly Uint8Array[] = [];
