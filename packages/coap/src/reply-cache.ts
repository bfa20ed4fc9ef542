import type { Instant, SessionId } from "@godwit/base";
import { exchangeLifetime, nonLifetime, type CoapTuning } from "./tuning.ts";

// What came before and what was said to it, so that it is acted on once (RFC 7252 4.5):
//
//     add ──> PENDING ──> ACKNOWLEDGED     the empty ACK goes out again
//                    ├──> ANSWERED         the same bytes go out again
//                    ├──> RESET            RST goes out again
//                    └──> SILENT           nothing was said, nothing is said again
//
// Every fact of an exchange is a number in a column; its answer lies in chunks. No object is made per exchange.

/** What a duplicate of a message gets. */
export const PENDING = 0;
export const ACKNOWLEDGED = 1;
export const ANSWERED = 2;
export const RESET = 3;
export const SILENT = 4;
export type ReplyState =
  | typeof PENDING
  | typeof ACKNOWLEDGED
  | typeof ANSWERED
  | typeof RESET
  | typeof SILENT;

/** A session's part of the cache: the ends of its own list, oldest first, and what it holds. */
export class SessionReplies {
  readonly session: SessionId;
  /** Columns of the cache: -1 is none. */
  oldest: number = NONE;
  newest: number = NONE;
  count = 0;
  bytes = 0;
  /** Its place among the owners while it holds anything. */
  index: number = NONE;

  constructor(session: SessionId) {
    this.session = session;
  }
}

/**
 * Remembers received messages by (session, message id): CON for EXCHANGE_LIFETIME, NON for NON_LIFETIME. Bounded by
 * entries and bytes, per session and in all; beyond that the oldest is forgotten, and its duplicate is a new message.
 */
export class ReplyCache {
  readonly #tuning: CoapTuning;
  readonly #conLifetime: number;
  readonly #nonLifetime: number;
  readonly #kept: KeptReplies | undefined;
  #columns: Columns = new Columns(FIRST_CAPACITY);
  #chunks: Chunks = new Chunks(FIRST_CAPACITY);
  /** Sessions that hold anything; columns name them by index, so that the collector has no columns to walk. */
  readonly #owners: (SessionReplies | undefined)[] = [];
  readonly #freeOwners: number[] = [];
  /** Heads of hash chains; its length is a power of two. */
  #table: Int32Array = new Int32Array(FIRST_CAPACITY).fill(NONE);
  #free = NONE;
  /** Columns from here on were never used. */
  #fresh = 0;
  #oldest = NONE;
  #newest = NONE;
  #count = 0;
  #bytes = 0;

  constructor(tuning: CoapTuning) {
    this.#tuning = tuning;
    this.#conLifetime = exchangeLifetime(tuning);
    this.#nonLifetime = nonLifetime(tuning);
    this.#kept = tuning.maxUnsafeKept > 0 ? new KeptReplies(tuning) : undefined;
  }

  get size(): number {
    return this.#count;
  }

  /** All memory of the cache, in bytes. */
  get byteLength(): number {
    return this.#columns.byteLength + this.#chunks.byteLength + this.#table.byteLength;
  }

  /** Bytes of answers held, in whole chunks. */
  get replyBytes(): number {
    return this.#bytes;
  }

  /** When something can be forgotten; coarse, for memory only: `find` knows lifetimes exactly. */
  get wakeAt(): Instant | undefined {
    if (this.#oldest === NONE) return undefined;
    return (Math.floor(this.#columns.until[this.#oldest]! / SWEEP) + 1) * SWEEP; // the oldest is a column
  }

  /**
   * The place of an earlier message with this id and the same bytes, -1 if there is none. Other bytes under the id of an
   * earlier message come from a peer that restarted, not from its retransmission.
   */
  find(replies: SessionReplies, mid: number, hash: number, now: Instant): number {
    const { owner, mid: mids, hash: hashes, until, chain } = this.#columns;
    let place = this.#table[this.#bucket(replies.session, mid)]!; // within the table
    while (place !== NONE) {
      if (mids[place] === mid && owner[place] === replies.index && hashes[place] === hash)
        return until[place]! > now ? place : NONE; // place is a column
      place = chain[place]!; // place is a column
    }
    return NONE;
  }

  /** Remembers a message that came now. `exchange` names what is done about it. */
  add(
    replies: SessionReplies,
    mid: number,
    hash: number,
    confirmable: boolean,
    unsafe: boolean,
    exchange: number,
    now: Instant,
  ): number {
    this.expire(now);
    const tuning = this.#tuning;
    if (replies.count >= tuning.maxRepliesPerSession) this.#remove(replies.oldest);
    if (this.#count >= tuning.maxReplies) this.#remove(this.#oldest);
    const place = this.#take();
    const c = this.#columns;
    c.mid[place] = mid;
    c.hash[place] = hash;
    c.state[place] = PENDING;
    c.unsafe[place] = unsafe ? 1 : 0;
    c.exchange[place] = exchange;
    c.until[place] = now + (confirmable ? this.#conLifetime : this.#nonLifetime);
    c.chunk[place] = NONE;
    c.length[place] = 0;
    this.#chain(replies, mid, place);
    c.older[place] = this.#newest;
    c.newer[place] = NONE;
    if (this.#newest === NONE) this.#oldest = place;
    else c.newer[this.#newest] = place;
    this.#newest = place;
    this.#link(replies, place);
    this.#count += 1;
    return place;
  }

  state(place: number): ReplyState {
    return this.#columns.state[place] as ReplyState; // only settle and add write it
  }

  exchange(place: number): number {
    return this.#columns.exchange[place]!; // callers pass what find or add gave
  }

  /** The answer to send again; a copy. */
  reply(place: number): Uint8Array {
    return this.#chunks.read(this.#columns.chunk[place]!, this.#columns.length[place]!); // as above
  }

  /** Says what duplicates get from now on. Does nothing if the message was forgotten meanwhile. */
  settle(
    replies: SessionReplies,
    mid: number,
    hash: number,
    state: ReplyState,
    reply: Uint8Array | undefined,
    now: Instant,
  ): void {
    const place = this.find(replies, mid, hash, now);
    if (place === NONE) return;
    const c = this.#columns;
    this.#release(place);
    c.state[place] = state;
    if (reply === undefined) return;
    c.chunk[place] = this.#chunks.write(reply);
    c.length[place] = reply.length;
    const size = chunked(reply.length);
    replies.bytes += size;
    this.#bytes += size;
    while (replies.bytes > this.#tuning.maxReplyBytesPerSession) this.#remove(replies.oldest);
    while (this.#bytes > this.#tuning.maxReplyBytes) this.#remove(this.#oldest);
  }

  /** The answer to the same bytes of an unsafe method from longer ago than EXCHANGE_LIFETIME, if they are kept. */
  kept(session: SessionId, mid: number, hash: number, now: Instant): Uint8Array | undefined {
    return this.#kept?.find(session, mid, hash, now);
  }

  expire(now: Instant): void {
    while (this.#oldest !== NONE && this.#columns.until[this.#oldest]! <= now)
      this.#remove(this.#oldest);
    if (this.#count === 0 && this.#columns.capacity > FIRST_CAPACITY) this.#shrink();
  }

  /** Forgets a session. */
  closed(replies: SessionReplies): void {
    while (replies.oldest !== NONE) this.#remove(replies.oldest, false);
    this.#kept?.closed(replies.session);
  }

  /** What came in `from` counts as having come in `into`. What came in both stays as it is in `into`. */
  absorb(into: SessionReplies, from: SessionReplies, now: Instant): void {
    const c = this.#columns;
    while (from.oldest !== NONE) {
      const place = from.oldest;
      const mid = c.mid[place]!; // as all below: place is a column
      if (this.find(into, mid, c.hash[place]!, now) !== NONE) {
        this.#remove(place, false);
        continue;
      }
      const size = chunked(c.length[place]!);
      this.#unchain(place);
      this.#unlink(place);
      from.bytes -= size;
      into.bytes += size;
      this.#link(into, place);
      this.#chain(into, mid, place);
    }
  }

  #chain(replies: SessionReplies, mid: number, place: number): void {
    const bucket = this.#bucket(replies.session, mid);
    this.#columns.chain[place] = this.#table[bucket]!; // within the table
    this.#table[bucket] = place;
  }

  #unchain(place: number): void {
    const c = this.#columns;
    const bucket = this.#bucket(this.#owner(place).session, c.mid[place]!); // place is a column
    if (this.#table[bucket] === place) {
      this.#table[bucket] = c.chain[place]!; // place is a column
      return;
    }
    let before = this.#table[bucket]!; // within the table
    while (c.chain[before] !== place) before = c.chain[before]!; // a place in use is in its chain
    c.chain[before] = c.chain[place]!; // place is a column
  }

  #link(replies: SessionReplies, place: number): void {
    const c = this.#columns;
    if (replies.index === NONE) {
      replies.index = this.#freeOwners.pop() ?? this.#owners.length;
      this.#owners[replies.index] = replies;
    }
    c.owner[place] = replies.index;
    c.before[place] = replies.newest;
    c.behind[place] = NONE;
    if (replies.newest === NONE) replies.oldest = place;
    else c.behind[replies.newest] = place;
    replies.newest = place;
    replies.count += 1;
  }

  #unlink(place: number): void {
    const c = this.#columns;
    const replies = this.#owner(place);
    const before = c.before[place]!; // as all below: place is a column
    const behind = c.behind[place]!;
    if (before === NONE) replies.oldest = behind;
    else c.behind[before] = behind;
    if (behind === NONE) replies.newest = before;
    else c.before[behind] = before;
    replies.count -= 1;
    c.owner[place] = NONE;
    if (replies.count > 0) return;
    this.#owners[replies.index] = undefined;
    this.#freeOwners.push(replies.index);
    replies.index = NONE;
  }

  #owner(place: number): SessionReplies {
    return this.#owners[this.#columns.owner[place]!]!; // a column in use has an owner
  }

  #remove(place: number, keep = true): void {
    const c = this.#columns;
    const replies = this.#owner(place);
    const mid = c.mid[place]!; // as all below: place is a column
    if (keep && this.#kept !== undefined && c.unsafe[place] === 1 && c.state[place] === ANSWERED)
      this.#kept.add(replies.session, mid, c.hash[place]!, this.reply(place), c.until[place]!);
    this.#release(place);

    this.#unchain(place);
    this.#unlink(place);
    const older = c.older[place]!;
    const newer = c.newer[place]!;
    if (older === NONE) this.#oldest = newer;
    else c.newer[older] = newer;
    if (newer === NONE) this.#newest = older;
    else c.older[newer] = older;
    this.#count -= 1;
    c.chain[place] = this.#free;
    this.#free = place;
  }

  /** Gives the chunks of an answer back. */
  #release(place: number): void {
    const c = this.#columns;
    const first = c.chunk[place]!; // callers pass columns
    if (first === NONE) return;
    const size = chunked(c.length[place]!);
    this.#chunks.free(first);
    c.chunk[place] = NONE;
    c.length[place] = 0;
    this.#owner(place).bytes -= size;
    this.#bytes -= size;
  }

  #take(): number {
    if (this.#free !== NONE) {
      const place = this.#free;
      this.#free = this.#columns.chain[place]!; // a free place is a column
      return place;
    }
    if (this.#fresh === this.#columns.capacity) this.#grow();
    return this.#fresh++;
  }

  #grow(): void {
    this.#columns = this.#columns.resized(this.#columns.capacity * 2);
    this.#table = new Int32Array(this.#columns.capacity).fill(NONE);
    const { owner, mid } = this.#columns;
    for (let place = 0; place < this.#fresh; place++) {
      const replies = this.#owners[owner[place]!]; // place is a column
      if (replies !== undefined) this.#chain(replies, mid[place]!, place);
    }
  }

  #shrink(): void {
    this.#columns = new Columns(FIRST_CAPACITY);
    this.#chunks = new Chunks(FIRST_CAPACITY);
    this.#table = new Int32Array(FIRST_CAPACITY).fill(NONE);
    this.#free = NONE;
    this.#fresh = 0;
  }

  #bucket(session: SessionId, mid: number): number {
    const mixed = Math.imul(Math.imul(session | 0, 0x9e37_79b1) ^ mid, 0x85eb_ca6b);
    return (mixed ^ (mixed >>> 15)) & (this.#table.length - 1);
  }
}

/** FNV-1a over a whole message. */
export function messageHash(bytes: Uint8Array): number {
  let hash = 0x811c_9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x0100_0193); // i < length
  return hash >>> 0;
}

class Columns {
  readonly capacity: number;
  readonly owner: Int32Array;
  readonly mid: Uint16Array;
  readonly hash: Uint32Array;
  readonly state: Uint8Array;
  readonly unsafe: Uint8Array;
  readonly exchange: Float64Array;
  readonly until: Float64Array;
  /** The next one in the hash chain, or in the list of free places. */
  readonly chain: Int32Array;
  readonly older: Int32Array;
  readonly newer: Int32Array;
  /** The neighbours within the session. */
  readonly before: Int32Array;
  readonly behind: Int32Array;
  readonly chunk: Int32Array;
  readonly length: Uint16Array;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.owner = new Int32Array(capacity).fill(NONE);
    this.mid = new Uint16Array(capacity);
    this.hash = new Uint32Array(capacity);
    this.state = new Uint8Array(capacity);
    this.unsafe = new Uint8Array(capacity);
    this.exchange = new Float64Array(capacity);
    this.until = new Float64Array(capacity);
    this.chain = new Int32Array(capacity);
    this.older = new Int32Array(capacity);
    this.newer = new Int32Array(capacity);
    this.before = new Int32Array(capacity);
    this.behind = new Int32Array(capacity);
    this.chunk = new Int32Array(capacity);
    this.length = new Uint16Array(capacity);
  }

  get byteLength(): number {
    return this.capacity * COLUMN_BYTES;
  }

  resized(capacity: number): Columns {
    const bigger = new Columns(capacity);
    bigger.owner.set(this.owner);
    bigger.mid.set(this.mid);
    bigger.hash.set(this.hash);
    bigger.state.set(this.state);
    bigger.unsafe.set(this.unsafe);
    bigger.exchange.set(this.exchange);
    bigger.until.set(this.until);
    bigger.chain.set(this.chain);
    bigger.older.set(this.older);
    bigger.newer.set(this.newer);
    bigger.before.set(this.before);
    bigger.behind.set(this.behind);
    bigger.chunk.set(this.chunk);
    bigger.length.set(this.length);
    return bigger;
  }
}

/** Byte strings of any length in equal pieces: what one gives back fits every other. */
class Chunks {
  #data: Uint8Array;
  #next: Int32Array;
  #free = NONE;
  #fresh = 0;

  constructor(capacity: number) {
    this.#data = new Uint8Array(capacity * CHUNK);
    this.#next = new Int32Array(capacity);
  }

  get byteLength(): number {
    return this.#data.length + this.#next.byteLength;
  }

  write(bytes: Uint8Array): number {
    let first = NONE;
    for (let end = chunked(bytes.length); end > 0; end -= CHUNK) {
      const chunk = this.#take();
      const data = this.#data;
      const from = end - CHUNK;
      const stop = Math.min(end, bytes.length);
      for (let i = from, at = chunk * CHUNK; i < stop; i++, at++) data[at] = bytes[i]!; // i < length
      this.#next[chunk] = first;
      first = chunk;
    }
    return first;
  }

  read(first: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let at = 0, chunk = first; at < length; at += CHUNK) {
      const from = chunk * CHUNK;
      bytes.set(this.#data.subarray(from, from + Math.min(CHUNK, length - at)), at);
      chunk = this.#next[chunk]!; // a chain is as long as its bytes
    }
    return bytes;
  }

  free(first: number): void {
    let last = first;
    while (this.#next[last] !== NONE) last = this.#next[last]!; // chains end with NONE
    this.#next[last] = this.#free;
    this.#free = first;
  }

  #take(): number {
    if (this.#free !== NONE) {
      const chunk = this.#free;
      this.#free = this.#next[chunk]!; // a free chunk is within
      return chunk;
    }
    if (this.#fresh === this.#next.length) {
      const data = new Uint8Array(this.#data.length * 2);
      data.set(this.#data);
      this.#data = data;
      const next = new Int32Array(this.#next.length * 2);
      next.set(this.#next);
      this.#next = next;
    }
    return this.#fresh++;
  }
}

/** Answers to unsafe methods, past EXCHANGE_LIFETIME: few, found by message id and hash. */
class KeptReplies {
  readonly #limit: number;
  readonly #lifetime: number;
  /** Oldest first, as maps keep the order of insertion. */
  readonly #replies = new Map<number, { session: SessionId; reply: Uint8Array; until: Instant }>();

  constructor(tuning: CoapTuning) {
    this.#limit = tuning.maxUnsafeKept;
    this.#lifetime = tuning.unsafeLifetime;
  }

  add(session: SessionId, mid: number, hash: number, reply: Uint8Array, since: Instant): void {
    const key = hash * 0x1_0000 + mid;
    this.#replies.delete(key);
    this.#replies.set(key, { session, reply, until: since + this.#lifetime });
    if (this.#replies.size <= this.#limit) return;
    for (const oldest of this.#replies.keys()) {
      this.#replies.delete(oldest);
      return;
    }
  }

  find(session: SessionId, mid: number, hash: number, now: Instant): Uint8Array | undefined {
    const kept = this.#replies.get(hash * 0x1_0000 + mid);
    return kept?.session === session && kept.until > now ? kept.reply : undefined;
  }

  closed(session: SessionId): void {
    for (const [key, kept] of this.#replies)
      if (kept.session === session) this.#replies.delete(key);
  }
}

function chunked(length: number): number {
  return Math.ceil(length / CHUNK) * CHUNK;
}

const NONE = -1;
/** Most answers to devices are a few bytes: an ACK with a token is 5, with a location 13. */
const CHUNK = 32;
const FIRST_CAPACITY = 256;
const SWEEP = 16_000;
/** Bytes per entry over all columns. */
const COLUMN_BYTES = 4 + 2 + 4 + 1 + 1 + 8 + 8 + 4 * 6 + 2;
