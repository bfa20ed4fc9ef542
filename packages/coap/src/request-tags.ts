import type { Rng, SessionId } from "@godwit/base";
import type { Request } from "./message.ts";
import { operationKey } from "./operation-key.ts";

/**
 * Which Request-Tag an upload of ours needs (RFC 9175 3.4, 3.5). None, and no byte, as long as uploads to one
 * resource follow each other and each is concluded: the absent option is recycled. Else the shortest value that no
 * matchable operation uses which still runs, or whose messages might still arrive.
 */
export class RequestTags {
  readonly #rng: Rng;
  readonly #sessions = new Map<SessionId, Map<string, Set<number>>>();

  constructor(rng: Rng) {
    this.#rng = rng;
  }

  /** Keys of operations that block a value, in this session. */
  held(session: SessionId): number {
    return this.#sessions.get(session)?.size ?? 0;
  }

  /** Before an upload in blocks starts. Give it back with `release`. */
  take(session: SessionId, request: Request): RequestTagLease {
    const key = operationKey(request);
    let keys = this.#sessions.get(session);
    if (keys === undefined) this.#sessions.set(session, (keys = new Map<string, Set<number>>()));
    let used = keys.get(key);
    if (used === undefined && keys.size >= MAX_KEYS) return this.#unguessed(session, key);
    if (used === undefined) keys.set(key, (used = new Set<number>()));
    let value = 0;
    while (used.has(value) && value < MAX_VALUES) value++;
    if (value === MAX_VALUES) return this.#unguessed(session, key);
    used.add(value);
    return { session, key, value, tag: tagOf(value) };
  }

  /**
   * The upload is over. `concluded`: its last message was answered, so that none can be taken for one of a later
   * upload (RFC 9175 3.5.1); if not, its value is never used again in this session.
   */
  release({ session, key, value }: RequestTagLease, concluded: boolean): void {
    if (!concluded) return;
    const keys = this.#sessions.get(session);
    const used = keys?.get(key);
    if (keys === undefined || used === undefined || value === undefined) return;
    used.delete(value);
    if (used.size > 0) return;
    keys.delete(key);
    if (keys.size === 0) this.#sessions.delete(session);
  }

  /** The session is over. */
  closed(session: SessionId): void {
    this.#sessions.delete(session);
  }

  /** Past the limits nothing is remembered: a random value is new well enough. */
  #unguessed(session: SessionId, key: string): RequestTagLease {
    return { session, key, value: undefined, tag: this.#rng.bytes(RANDOM_LENGTH) };
  }
}

export type RequestTagLease = {
  readonly session: SessionId;
  readonly key: string;
  readonly value: number | undefined;
  /** Undefined: without the option. */
  readonly tag: Uint8Array | undefined;
};

/** In order of length: no option, the empty one, one byte (RFC 9175 Appendix B). */
function tagOf(value: number): Uint8Array | undefined {
  if (value === 0) return undefined;
  return value === 1 ? new Uint8Array(0) : Uint8Array.of(value);
}

/** Operations of one session whose tags are told apart by remembering them, and tags of one operation. */
const MAX_KEYS = 16;
const MAX_VALUES = 256;
/** The longest a Request-Tag may be. */
const RANDOM_LENGTH = 8;
