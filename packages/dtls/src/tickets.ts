import { FormatError, type Instant, Reader, type Rng, Writer, equal } from "@godwit/base";
import { unwrap, wrap } from "./crypto.ts";
import { type SavedSession, decodeSession, encodeSession } from "./saved-session.ts";

/**
 * Tickets (RFC 5077 4): key_name(4) nonce(12) AES-256-GCM(session). One key makes tickets for a period; the keys before
 * it are taken as long as a session may live, and all are kept in the store, so that no restart refuses a fleet.
 */
export class TicketKeys {
  readonly #period: number;
  readonly #lifetime: number;
  /** Newest first. */
  #keys: TicketKey[] = [];

  /** `period`: how long one key makes tickets. `lifetime`: how long a ticket is good. In ms. */
  constructor(period: number, lifetime: number) {
    this.#period = period;
    this.#lifetime = lifetime;
  }

  /** Makes a new key when it is time; returns all keys packed when they changed, for the store. */
  rotate(rng: Rng, now: Instant): Uint8Array | undefined {
    const [newest] = this.#keys;
    if (newest !== undefined && now < newest.from + this.#period) return undefined;
    const key = { name: rng.bytes(NAME), key: rng.bytes(KEY), from: Math.floor(now) };
    const kept = this.#keys.filter((old) => old.from + this.#period + this.#lifetime > now);
    this.#keys = [key, ...kept].slice(0, MAX_KEYS);
    return this.#pack();
  }

  /** Takes keys from the store. */
  restore(packed: Uint8Array): void {
    const reader = new Reader(packed);
    const keys: TicketKey[] = [];
    while (reader.left > 0) {
      const from = reader.u48();
      const name = Uint8Array.from(reader.take(NAME));
      keys.push({ from, name, key: Uint8Array.from(reader.take(KEY)) });
    }
    if (keys.length > MAX_KEYS) throw new FormatError("too many ticket keys");
    this.#keys = keys;
  }

  seal(session: SavedSession, rng: Rng): Uint8Array | undefined {
    const [newest] = this.#keys;
    if (newest === undefined) return undefined;
    const nonce = rng.bytes(NONCE);
    return new Writer(192)
      .append(newest.name)
      .append(nonce)
      .append(wrap(newest.key, nonce, encodeSession(session)))
      .bytes();
  }

  /** The session in a ticket, unless it is not of ours, altered or too old. */
  open(ticket: Uint8Array, now: Instant): SavedSession | undefined {
    if (ticket.length < NAME + NONCE) return undefined;
    const name = ticket.subarray(0, NAME);
    const known = this.#keys.find((key) => equal(key.name, name));
    if (known === undefined) return undefined;
    const nonce = ticket.subarray(NAME, NAME + NONCE);
    const packed = unwrap(known.key, nonce, ticket.subarray(NAME + NONCE));
    if (packed === undefined) return undefined;
    const session = decodeSession(packed);
    return session.expires > now ? session : undefined;
  }

  #pack(): Uint8Array {
    const writer = new Writer(this.#keys.length * (6 + NAME + KEY));
    for (const { from, name, key } of this.#keys) writer.u48(from).append(name).append(key);
    return writer.bytes();
  }
}

type TicketKey = { readonly name: Uint8Array; readonly key: Uint8Array; readonly from: Instant };

const NAME = 4;
const NONCE = 12;
const KEY = 32;
const MAX_KEYS = 16;
