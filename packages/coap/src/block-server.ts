import {
  Deadlines,
  EMPTY,
  below,
  equal,
  type Instant,
  type Rng,
  type SessionId,
} from "@godwit/base";
import {
  LARGEST_BLOCK,
  MAX_BLOCK_NUM,
  SMALLEST_BLOCK,
  blockOffset,
  blockOption,
  blockSize,
  szxFor,
  type Block,
} from "./block-option.ts";
import { Code, isSuccess } from "./codes.ts";
import { contentTag } from "./content-tag.ts";
import type { Option, Request, Response } from "./message.ts";
import { operationKey } from "./operation-key.ts";
import { OptionNumber } from "./option-numbers.ts";
import {
  findOption,
  findUint,
  opaqueOption,
  response,
  sortOptions,
  uintOption,
} from "./options.ts";
import { findBlock, findGoodBlock } from "./transfer-options.ts";
import type { CoapTuning } from "./tuning.ts";

/**
 * Block-wise transfer in the server role (RFC 7959), between the message layer and the application:
 *
 *     request 1:0/1 ─▶ request() ─▶ reply 2.31 1:0/1        bodies are joined here, and the
 *     request 1:1/0 ─▶ request() ─▶ whole ─▶ application    application sees them whole
 *     2.05 2:0/1    ◀─ respond() ◀─ answer ◀──────┘
 *     request 2:1/0 ─▶ request() ─▶ reply 2.05 2:1/0        from the answer that was kept
 *
 * A body is found again by session and operation (method and options with Request-Tag, RFC 9175 3.3), so bodies of
 * different sessions, resources or Request-Tags never mix. What a session holds is bounded by itself alone; when all
 * sessions together hold too much, new uploads wait (5.03 with Max-Age) and answers are not kept, but made anew.
 */
export class BlockServer {
  readonly #tuning: CoapTuning;
  readonly #rng: Rng;
  readonly #mayUpload: (session: SessionId) => boolean;
  /** Oldest first; an entry lives only while a transfer runs. */
  readonly #bodies = new Map<SessionId, Body[]>();
  /** When a body nobody asked for is forgotten (RFC 7959 2.4, 2.5). */
  readonly #deadlines = new Deadlines<Body>();
  #bytes = 0;

  /** `mayUpload`: see EndpointOptions. */
  constructor(
    tuning: CoapTuning,
    rng: Rng,
    mayUpload: (session: SessionId) => boolean = () => true,
  ) {
    this.#tuning = tuning;
    this.#rng = rng;
    this.#mayUpload = mayUpload;
  }

  /** Unfinished uploads and answers not fetched to their end. */
  get bodies(): number {
    return this.#deadlines.size;
  }

  /** Bytes they hold. */
  get bytes(): number {
    return this.#bytes;
  }

  get wakeAt(): Instant | undefined {
    return this.#deadlines.next;
  }

  /**
   * A request as it came. "whole": for the application, blocks joined and the options of the transfer removed.
   * "reply": to be sent at once.
   */
  request(session: SessionId, request: Request, now: Instant): BlockResult {
    const wrong = fault(request.options);
    if (wrong !== undefined) return reply(wrong);
    const block1 = findBlock(request.options, OptionNumber.Block1);
    const block2 = findBlock(request.options, OptionNumber.Block2);
    const size1 = block1 && findUint(request.options, OptionNumber.Size1);
    if (block1 !== undefined) {
      if (block1.num === 0 && !this.#mayUpload(session))
        return this.#whole(request, request, request.payload);
      return this.#upload(session, request, block1, size1, now);
    }
    if (block2 !== undefined && block2.num > 0) return this.#fetch(session, request, block2, now);
    return { kind: "whole", request: { ...request, options: plainOptions(request.options) } };
  }

  /**
   * The application's answer to `original`, the request as it came (the last block's): what to send first. The rest
   * is kept for the requests that follow. `limit`: at most this many payload bytes in one message.
   */
  respond(
    session: SessionId,
    original: Request,
    response: Response,
    now: Instant,
    limit?: number,
  ): Response {
    const block1 = findGoodBlock(original.options, OptionNumber.Block1);
    const asked = findGoodBlock(original.options, OptionNumber.Block2);
    const answer = this.#firstBlock(session, original, response, asked, now, limit);
    if (block1 === undefined) return answer;
    const szx = Math.min(block1.szx, this.#tuning.preferredSzx);
    const processed = blockOption(OptionNumber.Block1, { num: block1.num, more: false, szx });
    return { ...answer, options: sortOptions([...answer.options, processed]) };
  }

  /** The session is over. */
  closed(session: SessionId): void {
    for (const body of [...(this.#bodies.get(session) ?? [])]) this.#drop(body);
  }

  /** What runs in `from` goes on in `into`; of the same operation in both, the one of `from` stays. */
  moved(from: SessionId, into: SessionId): void {
    if (from === into) return;
    for (const body of [...(this.#bodies.get(from) ?? [])]) {
      const at = this.#deadlines.at(body)!; // every body has a deadline
      this.#drop(body);
      const twin =
        body.kind === "upload"
          ? this.#find(into, "upload", body.key)
          : this.#find(into, "answer", body.key, body.question);
      if (twin !== undefined) this.#drop(twin);
      body.session = into;
      if (this.#room(into, body.bytes) === "yes") this.#keep(body, at);
    }
  }

  wake(now: Instant): void {
    for (let body = this.#deadlines.expired(now); body; body = this.#deadlines.expired(now))
      this.#drop(body);
  }

  // ── Block1: the request's body comes in blocks (RFC 7959 2.5) ──

  #upload(
    session: SessionId,
    request: Request,
    block: Block,
    size1: number | undefined,
    now: Instant,
  ): BlockResult {
    const { payload } = request;
    const size = blockSize(block.szx);
    // RFC 7959 2.3: with M set the payload is exactly one block.
    if (block.more ? payload.length !== size : payload.length > size) return reply(Code.BadRequest);
    const offset = blockOffset(block);
    const end = offset + payload.length;
    const key = operationKey(request);
    const until = now + this.#tuning.partialBodyLifetime;
    const begun = this.#find(session, "upload", key);
    let upload = begun;

    const longest = Math.min(this.#tuning.maxRequestBody, this.#tuning.maxPartialBytesPerSession);
    if (Math.max(end, size1 ?? 0) > longest) {
      if (upload !== undefined) this.#drop(upload);
      return this.#tooLarge(block, longest);
    }
    if (upload === undefined) {
      if (block.num > 0) return fragment(request);
      if (!block.more) return this.#whole(request, request, payload);
      const room = this.#room(session, 2 * size);
      if (room !== "yes") return this.#noRoom(room, block, longest, now);
      upload = {
        kind: "upload",
        session,
        key,
        first: { ...request, options: copied(request.options), payload: EMPTY },
        buffer: new Uint8Array(2 * size),
        length: 0,
        bytes: 2 * size,
      };
      this.#keep(upload, until);
    }
    if (offset > upload.length) return reply(Code.RequestEntityIncomplete);
    if (end > upload.buffer.length) {
      const room = this.#grow(upload, Math.min(longest, Math.max(end, 2 * upload.buffer.length)));
      if (room !== "yes") {
        this.#drop(upload);
        return this.#noRoom(room, block, longest, now);
      }
    }
    // A block that is there already is a duplicate; one that differs begins a new body from here on (RFC 7959 2.5:
    // a new sequence overwrites the old one).
    const known = upload.buffer.subarray(offset, Math.min(end, upload.length));
    if (!equal(known, payload.subarray(0, known.length))) {
      if (offset === 0) upload.first = { ...upload.first, options: copied(request.options) };
      upload.length = offset;
    }
    upload.buffer.set(payload, offset);
    upload.length = Math.max(upload.length, end);
    if (!block.more) {
      this.#drop(upload);
      return this.#whole(upload.first, request, upload.buffer.subarray(0, end));
    }
    if (begun !== undefined) this.#deadlines.set(upload, until);
    const szx = Math.min(block.szx, this.#tuning.preferredSzx);
    return reply(Code.Continue, [blockOption(OptionNumber.Block1, { ...block, szx })]);
  }

  /** If-None-Match and the like came with block 0; Observe counts on the last one, whose token the answer carries. */
  #whole(first: Request, last: Request, payload: Uint8Array): BlockResult {
    const options = plainOptions(first.options);
    const observe = findOption(last.options, OptionNumber.Observe);
    const replaced =
      first === last || observe === undefined
        ? options
        : sortOptions([...options.filter((o) => o.number !== OptionNumber.Observe), observe]);
    return { kind: "whole", request: { code: last.code, options: replaced, payload } };
  }

  #tooLarge(block: Block, longest: number): BlockResult {
    return reply(Code.RequestEntityTooLarge, [
      blockOption(OptionNumber.Block1, block),
      uintOption(OptionNumber.Size1, longest), // RFC 7959 2.9.3
    ]);
  }

  #noRoom(room: Room, block: Block, longest: number, now: Instant): BlockResult {
    if (room === "session full") return this.#tooLarge(block, longest);
    // RFC 9175 3.3: put it off. Spread, so that those who wait do not come back together.
    const wait = Math.max(0, (this.#deadlines.next ?? now) - now);
    const seconds = Math.ceil(wait / 1_000) + below(this.#rng, RETRY_SPREAD);
    return reply(Code.ServiceUnavailable, [uintOption(OptionNumber.MaxAge, seconds)]);
  }

  // ── Block2: the answer's body goes out in blocks (RFC 7959 2.4) ──

  #fetch(session: SessionId, request: Request, block: Block, now: Instant): BlockResult {
    const kept = this.#find(session, "answer", operationKey(request), request.payload);
    if (kept !== undefined) {
      const szx = Math.min(block.szx, kept.szx);
      const answer = cut(kept.response, block, szx, sizeAsked(request));
      if (answer.last) this.#drop(kept);
      else this.#deadlines.set(kept, now + this.#tuning.partialBodyLifetime);
      return { kind: "reply", response: answer.response };
    }
    // Asking the application once more is right only where that changes nothing and the question is complete.
    const again =
      request.code === Code.GET || (request.code === Code.FETCH && request.payload.length > 0);
    if (!again) return fragment(request);
    // One block of a resource cannot be observed (RFC 7959 2.6).
    const options = plainOptions(request.options).filter((o) => o.number !== OptionNumber.Observe);
    return { kind: "whole", request: { ...request, options } };
  }

  #firstBlock(
    session: SessionId,
    original: Request,
    response: Response,
    asked: Block | undefined,
    now: Instant,
    limit: number | undefined,
  ): Response {
    if (findOption(response.options, OptionNumber.Block2) !== undefined) return response;
    const szx = Math.min(
      this.#tuning.preferredSzx,
      asked?.szx ?? szxFor(LARGEST_BLOCK),
      szxFor(Math.max(SMALLEST_BLOCK, limit ?? LARGEST_BLOCK)),
    );
    const size = blockSize(szx);
    const num = asked?.num ?? 0;
    const fits = response.payload.length <= size;
    if (num === 0) this.#dropAnswer(session, original);
    // There is no later block of an error, nor of 2.03.
    const bare = !isSuccess(response.code) || response.payload.length === 0;
    if (num === 0 ? fits : bare) return response;
    if (response.payload.length > size * (MAX_BLOCK_NUM + 1))
      return { code: Code.InternalServerError, options: [], payload: EMPTY };
    const tagged = withTag(response);
    const answer = cut(tagged, asked ?? { num: 0, more: false, szx }, szx, sizeAsked(original));
    if (num === 0 || !answer.last) this.#keepAnswer(session, original, tagged, szx, now);
    return answer.response;
  }

  #keepAnswer(
    session: SessionId,
    original: Request,
    response: Response,
    szx: number,
    now: Instant,
  ): void {
    this.#dropAnswer(session, original);
    const blocked = findOption(original.options, OptionNumber.Block1) !== undefined;
    const question = blocked ? EMPTY : Uint8Array.from(original.payload);
    const bytes = response.payload.length + question.length;
    // Without room the answer is made anew for each block: slower, and right as long as the tag stays.
    if (this.#room(session, bytes) !== "yes") return;
    const key = operationKey(original);
    this.#keep(
      { kind: "answer", session, key, question, response, szx, bytes },
      now + this.#tuning.partialBodyLifetime,
    );
  }

  #dropAnswer(session: SessionId, original: Request): void {
    const blocked = findOption(original.options, OptionNumber.Block1) !== undefined;
    const question = blocked ? EMPTY : original.payload;
    const kept = this.#find(session, "answer", operationKey(original), question);
    if (kept !== undefined) this.#drop(kept);
  }

  // ── What is kept ──

  #find(session: SessionId, kind: "upload", key: string): Upload | undefined;
  #find(session: SessionId, kind: "answer", key: string, question: Uint8Array): Answer | undefined;
  #find(session: SessionId, kind: Body["kind"], key: string, question = EMPTY): Body | undefined {
    return this.#bodies
      .get(session)
      ?.findLast(
        (body) =>
          body.kind === kind &&
          body.key === key &&
          (body.kind === "upload" || sameQuestion(body.question, question)),
      );
  }

  /** Makes room by ending the oldest transfers of this session, never one of another. */
  #room(session: SessionId, bytes: number, growing?: Upload): Room {
    const { maxPartialBodies, maxPartialBytes } = this.#tuning;
    const own = this.#bodies.get(session) ?? [];
    const count = growing === undefined ? 1 : 0;
    let ownCount = own.length + count;
    let ownBytes = own.reduce((sum, body) => sum + body.bytes, bytes);
    const victims: Body[] = [];
    for (const body of own) {
      if (
        ownCount <= this.#tuning.maxPartialBodiesPerSession &&
        ownBytes <= this.#tuning.maxPartialBytesPerSession
      )
        break;
      if (body === growing) continue;
      victims.push(body);
      ownCount--;
      ownBytes -= body.bytes;
    }
    if (ownBytes > this.#tuning.maxPartialBytesPerSession) return "session full";
    const freed = victims.reduce((sum, body) => sum + body.bytes, 0);
    if (
      this.bodies + count - victims.length > maxPartialBodies ||
      this.#bytes + bytes - freed > maxPartialBytes
    )
      return "full";
    for (const body of victims) this.#drop(body);
    return "yes";
  }

  #grow(upload: Upload, size: number): Room {
    const more = size - upload.buffer.length;
    const room = this.#room(upload.session, more, upload);
    if (room !== "yes") return room;
    const buffer = new Uint8Array(size);
    buffer.set(upload.buffer.subarray(0, upload.length));
    upload.buffer = buffer;
    upload.bytes += more;
    this.#bytes += more;
    return "yes";
  }

  #keep(body: Body, until: Instant): void {
    const all = this.#bodies.get(body.session);
    if (all === undefined) this.#bodies.set(body.session, [body]);
    else all.push(body);
    this.#bytes += body.bytes;
    this.#deadlines.set(body, until);
  }

  #drop(body: Body): void {
    const all = this.#bodies.get(body.session);
    const at = all?.indexOf(body) ?? -1;
    if (all === undefined || at < 0) return;
    all.splice(at, 1);
    if (all.length === 0) this.#bodies.delete(body.session);
    this.#bytes -= body.bytes;
    this.#deadlines.stop(body);
  }
}

/** What becomes of a request. */
export type BlockResult =
  | { readonly kind: "whole"; readonly request: Request }
  | {
      readonly kind: "reply";
      readonly response: Response;
      /**
       * Nothing is known here of what the request goes on with: only its options. Where the session is a new path of an
       * older one, that may know.
       */
      readonly fragment?: Request;
    };

/** A request's body on its way in. */
type Upload = {
  readonly kind: "upload";
  session: SessionId;
  readonly key: string;
  first: Request;
  buffer: Uint8Array;
  /** Bytes of the buffer that are filled. */
  length: number;
  /** Size of the buffer. */
  bytes: number;
};

/** An answer on its way out. */
type Answer = {
  readonly kind: "answer";
  session: SessionId;
  readonly key: string;
  /** Payload of the request it answers, part of the cache key of FETCH (RFC 8132 2.1). Empty: came in blocks, or none. */
  readonly question: Uint8Array;
  readonly response: Response;
  readonly szx: number;
  readonly bytes: number;
};

type Body = Upload | Answer;
type Room = "yes" | "session full" | "full";

/** Clients differ in whether they repeat the payload when they ask for further blocks. */
function sameQuestion(kept: Uint8Array, asked: Uint8Array): boolean {
  return kept.length === 0 || asked.length === 0 || equal(kept, asked);
}

/** One block of `whole`: `asked.num` counts in blocks of `asked.szx`, the block has the size of `szx`. */
function cut(
  whole: Response,
  asked: Block,
  szx: number,
  withSize: boolean,
): { readonly response: Response; readonly last: boolean } {
  const body = whole.payload;
  const offset = blockOffset(asked);
  if (offset >= body.length) return { response: response(Code.BadOption), last: false };
  const end = Math.min(body.length, offset + blockSize(szx));
  const more = end < body.length;
  // A block other than the first is no notification (RFC 7959 2.6).
  const options = whole.options.filter((o) => offset === 0 || o.number !== OptionNumber.Observe);
  options.push(blockOption(OptionNumber.Block2, { num: offset / blockSize(szx), more, szx }));
  if (offset === 0 || withSize) options.push(uintOption(OptionNumber.Size2, body.length));
  return {
    response: {
      code: whole.code,
      options: sortOptions(options),
      payload: body.subarray(offset, end),
    },
    last: !more,
  };
}

function withTag(answer: Response): Response {
  if (findOption(answer.options, OptionNumber.ETag) !== undefined) return answer;
  const tag = opaqueOption(OptionNumber.ETag, contentTag(answer.payload));
  return { ...answer, options: sortOptions([...answer.options, tag]) };
}

/**
 * What to answer to options of a transfer that cannot be read: a reserved size is a bad request (RFC 7959 2.2); all else is as
 * if the option were unknown (RFC 7252 5.4.3, 5.4.5).
 */
function fault(options: readonly Option[]): number | undefined {
  let isBad = false;
  let blocks1 = 0;
  let blocks2 = 0;
  for (let i = 0; i < options.length; i++) {
    const { number, value } = options[i]!; // i < length
    if (number === OptionNumber.Size1) isBad ||= value.length > 4;
    if (number !== OptionNumber.Block1 && number !== OptionNumber.Block2) continue;
    if (value.length > 3) isBad = true;
    else if (((value.at(-1) ?? 0) & 7) === 7) return Code.BadRequest;
    if (number === OptionNumber.Block1) blocks1 += 1;
    else blocks2 += 1;
  }
  return isBad || blocks1 > 1 || blocks2 > 1 ? Code.BadOption : undefined;
}

function sizeAsked(request: Request): boolean {
  return findOption(request.options, OptionNumber.Size2) !== undefined;
}

/** What the application sees: Block, Size and Request-Tag belong to the transfer (RFC 9175 3.3). */
function plainOptions(options: readonly Option[]): Option[] {
  return options.filter((option) => !OF_TRANSFER.has(option.number));
}

/** The datagram they came in is not ours to keep. */
function copied(options: readonly Option[]): Option[] {
  return options.map(({ number, value }) => ({ number, value: Uint8Array.from(value) }));
}

function reply(code: number, options: readonly Option[] = []): BlockResult {
  return { kind: "reply", response: response(code, { options }) };
}

function fragment(request: Request): BlockResult {
  const options = plainOptions(request.options);
  return {
    kind: "reply",
    response: response(Code.RequestEntityIncomplete),
    fragment: { code: request.code, options, payload: EMPTY },
  };
}

const OF_TRANSFER: ReadonlySet<number> = new Set([
  OptionNumber.Block1,
  OptionNumber.Block2,
  OptionNumber.Size1,
  OptionNumber.Size2,
  OptionNumber.RequestTag,
]);
/** Seconds. */
const RETRY_SPREAD = 16;
