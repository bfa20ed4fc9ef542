import { hashBytes, misfit, type Instant, type SessionId } from "@godwit/base";
import { KeptReplies } from "./kept-replies.ts";
import { Chunks, Columns, NONE, chunked } from "./reply-columns.ts";
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
    if (reply.length > 0xffff) misfit("u16", reply.length);
    c.chunk[place] = this.#chunks.write(reply);
    c.length[place] = reply.length;
    const size = chunked(reply.length);
    replies.bytes += size;
    this.#bytes += size;
    while (replies.bytes > this.#tuning.maxReplyBytesPerSession) this.#remove(replies.oldest);
    while (this.#bytes > this.#tuning.maxReplyBytes) this.#remove(this.#oldest);
  }

  /** Forgets a message: when it comes again it is new. */
  forget(replies: SessionReplies, mid: number, hash: number, now: Instant): void {
    const place = this.find(replies, mid, hash, now);
    if (place !== NONE) this.#remove(place, false);
  }

  /** The answer to the same bytes of an unsafe method from longer ago than EXCHANGE_LIFETIME, if they are kept. */
  kept(session: SessionId, mid: number, hash: number, now: Instant): Uint8Array | undefined {
    return this.#kept?.find(session, mid, hash, now);
  }

  /** Takes up what was answered before a restart, at `since`. */
  keep(session: SessionId, mid: number, hash: number, reply: Uint8Array, since: Instant): void {
    this.#kept?.add(session, mid, hash, reply, since);
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
  return hashBytes(bytes) >>> 0;
}

const FIRST_CAPACITY = 256;
const SWEEP = 16_000;
