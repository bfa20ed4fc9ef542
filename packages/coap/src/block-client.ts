import { EMPTY, FormatError, UsageError, equal, unreachable } from "@godwit/base";
import { MAX_BLOCK_NUM, blockOffset, blockOption, blockSize, type Block } from "./block-option.ts";
import { Code, isSuccess } from "./codes.ts";
import type { Option, Request, Response } from "./message.ts";
import { OptionNumber } from "./option-numbers.ts";
import { findOption, findUint, opaqueOption, sortOptions, uintOption } from "./options.ts";
import { findBlock } from "./transfer-options.ts";
import type { CoapTuning } from "./tuning.ts";

/**
 * One request of ours whose body or answer may not fit one message (RFC 7959), in the client role:
 *
 *     plain ───────────────┐  the request fits, and goes as it is
 *     sending ─ 2.31 ─▶ …  ├─▶ done
 *        └─ answer to the last block ─▶ fetching ─ Block2 with M ─▶ … ─▶ done
 *
 * Send `first()`, give each answer to `handle`, send what it says, until it is done or failed. One request is under
 * way at a time. For a notification that is a first block (RFC 7959 2.6), skip `first()` and begin with `handle`.
 */
export class BlockTransfer {
  readonly #request: Request;
  readonly #tuning: CoapTuning;
  #tag: Uint8Array | undefined;
  readonly #newTag: (() => Uint8Array | undefined) | undefined;
  /** Size exponents of the blocks we send, and of those we ask for once the size is settled. */
  #szx1: number;
  #szx2: number | undefined;
  #state: State;
  #restarts = 0;
  /** The caller moves single blocks by himself: nothing is added or joined. */
  readonly #raw: boolean;
  /** The request's body went out in blocks. */
  #blocked = false;
  /** Begun again: an Observe option has done its work. */
  #quiet = false;
  /** The peer knows no block-wise transfer. */
  #refusedBlocks = false;
  /** Observe of the first answer, for the joined one. */
  #observe: Option | undefined;

  /** `request`: whole; a Block2 option with number 0 in it asks for a block size early. Throws UsageError for a malformed one. */
  constructor(request: Request, tuning: CoapTuning, options: BlockTransferOptions = {}) {
    this.#request = request;
    this.#tuning = tuning;
    this.#tag = options.requestTag;
    this.#newTag = options.newTag;
    this.#szx1 = options.szx ?? tuning.preferredSzx;
    const block2 = ownBlock2(request);
    this.#szx2 = block2?.szx;
    if (this.#szx1 < tuning.preferredSzx && SAFE.has(request.code))
      this.#szx2 = Math.min(this.#szx2 ?? this.#szx1, this.#szx1);
    this.#raw =
      (block2?.num ?? 0) > 0 || findOption(request.options, OptionNumber.Block1) !== undefined;
    this.#state =
      !this.#raw && request.payload.length > blockSize(this.#szx1)
        ? { kind: "sending", offset: 0 }
        : { kind: "plain" };
  }

  /** Whether the request goes out in blocks: such a one may need a Request-Tag (RFC 9175 3.4). */
  get sending(): boolean {
    return this.#state.kind === "sending";
  }

  first(): Request {
    return this.#ask();
  }

  /** Whether what is under way makes the peer act: the whole request, or its last block. */
  get acting(): boolean {
    const state = this.#state;
    return state.kind === "plain" || (state.kind === "sending" && this.#isLast(state.offset));
  }

  /** Whether blocks of the size under way have passed before. */
  get passed(): boolean {
    const state = this.#state;
    return state.kind === "fetching" || (state.kind === "sending" && state.offset > 0);
  }

  /** Block size exponent of what is under way: the larger of both directions. */
  get szx(): number {
    const down = this.#szx2 ?? this.#tuning.preferredSzx;
    if (this.#state.kind === "fetching") return down;
    return SAFE.has(this.#request.code) ? Math.max(down, this.#szx1) : this.#szx1;
  }

  /**
   * The request under way once more, with blocks of half the size or of exponent `most`, for a path that seems not to
   * carry it (RFC 7959 2.5): blocks that we send, and where only reading is asked for, also those of the answer.
   * Undefined if it cannot get smaller. What is `acting` must be a request that may be carried out twice.
   */
  smaller(most = 5): Request | undefined {
    if (this.#raw || this.#refusedBlocks) return undefined;
    if (this.#state.kind === "fetching")
      return this.#smallerAnswer(most, this.#state.received) ? this.#ask() : undefined;
    const { length } = this.#request.payload;
    const asksOnly = length === 0 || SAFE.has(this.#request.code);
    const up = this.#smallerBlocks(most, length);
    const down = asksOnly && this.#smallerAnswer(most, 0);
    return up || down ? this.#ask() : undefined;
  }

  #smallerAnswer(most: number, received: number): boolean {
    const szx = Math.min((this.#szx2 ?? this.#tuning.preferredSzx) - 1, most);
    if (szx < 0 || received >= longestBody(szx)) return false;
    this.#szx2 = szx;
    return true;
  }

  #smallerBlocks(most: number, length: number): boolean {
    let szx = Math.min(this.#szx1 - 1, most);
    while (szx > 0 && blockSize(szx) >= length) szx--;
    if (szx < 0 || blockSize(szx) >= length || length > longestBody(szx)) return false;
    this.#szx1 = szx;
    if (this.#state.kind === "plain") this.#state = { kind: "sending", offset: 0 };
    return true;
  }

  #isLast(offset: number): boolean {
    return offset + blockSize(this.#szx1) >= this.#request.payload.length;
  }

  /** The answer to what was sent last. `once`: that left a single time, so that this is all that has come of it. */
  handle(response: Response, once = false): BlockStep {
    if (this.#raw) return { kind: "done", response };
    try {
      return this.#handle(response, once);
    } catch (error) {
      if (error instanceof FormatError) return BAD_RESPONSE;
      throw error;
    }
  }

  #handle(response: Response, once: boolean): BlockStep {
    const block1 = findBlock(response.options, OptionNumber.Block1);
    const block2 = findBlock(response.options, OptionNumber.Block2);
    const state = this.#state;
    if (response.code === Code.BadOption && this.#mayDoWithout()) return this.#without();
    if (response.code === Code.RequestEntityTooLarge && state.kind !== "fetching")
      return this.#refused(state, response, block1);
    if (state.kind === "sending") {
      const step = this.#sent(state, response, block1, once);
      if (step !== undefined) return step;
    }
    if (response.code === Code.Continue) return BAD_RESPONSE; // nothing is left to continue with
    return this.#answered(response, block2);
  }

  // ── Block1 (RFC 7959 2.5) ──

  /** Undefined: this is the answer to the whole request. */
  #sent(
    state: Sending,
    response: Response,
    block1: Block | undefined,
    once: boolean,
  ): BlockStep | undefined {
    const length = this.#request.payload.length;
    const size = blockSize(this.#szx1);
    const end = Math.min(length, state.offset + size);
    const last = end === length;
    if (response.code === Code.RequestEntityIncomplete) {
      // The server has lost the blocks before (RFC 7959 2.9.2). If the last block was sent more than once, the server may
      // also have carried out the request and forgotten that: only what may be done twice is begun again then.
      if (last && !once && !IDEMPOTENT.has(this.#request.code)) return undefined;
      if (this.#restarts >= this.#tuning.maxBlockRestarts) return undefined;
      // Blocks of the first try, wherever they are, are not to meet those of the second (RFC 9175 3.3).
      if (this.#newTag !== undefined) this.#tag = this.#newTag();
      return this.#again();
    }
    // A success without Block1 is the answer to it all; with Block1 and without M only this block was carried out,
    // and the others are still to be sent (RFC 7959 2.3).
    if (last || block1 === undefined || !isSuccess(response.code)) return undefined;
    if (block1.num !== state.offset / size) return BAD_RESPONSE;
    this.#szx1 = Math.min(this.#szx1, block1.szx);
    if (length > longestBody(this.#szx1)) return TOO_LARGE;
    this.#state = { kind: "sending", offset: end };
    return this.#next();
  }

  /** 4.02 to blocks that are our idea: the peer may know none (RFC 7252 5.4.1). */
  #mayDoWithout(): boolean {
    const state = this.#state;
    if (state.kind === "fetching" || findOption(this.#request.options, OptionNumber.Block2))
      return false;
    const begins = state.kind === "sending" ? state.offset === 0 : this.#szx2 !== undefined;
    return begins && this.#request.payload.length <= blockSize(this.#tuning.preferredSzx);
  }

  #without(): BlockStep {
    this.#refusedBlocks = true;
    this.#blocked = false;
    this.#szx2 = undefined;
    this.#state = { kind: "plain" };
    return this.#next();
  }

  /** 4.13 with a smaller size in Block1, or to a request without Block1: a hint to try that (RFC 7959 2.9.3). */
  #refused(state: State, response: Response, block1: Block | undefined): BlockStep {
    const { length } = this.#request.payload;
    let szx = Math.min(block1?.szx ?? this.#szx1, this.#szx1);
    // What went in one piece has to become at least two blocks.
    if (state.kind === "plain") while (szx > 0 && blockSize(szx) >= length) szx--;
    const smaller = state.kind === "plain" ? blockSize(szx) < length : szx < this.#szx1;
    const most = findUint(response.options, OptionNumber.Size1) ?? length;
    if (!smaller || most < length || length > longestBody(szx)) return done(response);
    this.#szx1 = szx;
    this.#state = { kind: "sending", offset: 0 };
    return this.#next();
  }

  // ── Block2 (RFC 7959 2.4) ──

  #answered(response: Response, block2: Block | undefined): BlockStep {
    // Without Block2 an answer is whole, and an error in the middle is the outcome.
    if (block2 === undefined) return this.#done(response);
    if (this.#state.kind === "fetching" && !isSuccess(response.code)) return done(response);
    const { length } = response.payload;
    if (block2.more && length !== blockSize(block2.szx)) return BAD_RESPONSE;
    const fetching: Pick<Fetching, "first" | "parts" | "received"> =
      this.#state.kind === "fetching" ? this.#state : { first: response, parts: [], received: 0 };
    const { first, received } = fetching;
    if (!sameBody(first, response)) return this.#changed();
    if (blockOffset(block2) !== received) return BAD_RESPONSE;
    const size = findUint(response.options, OptionNumber.Size2) ?? 0;
    const most = this.#tuning.maxResponseBody;
    if (received + length > most || (block2.more && size > most)) return TOO_LARGE;
    const { parts } = fetching;
    if (!block2.more) return this.#done({ ...first, payload: joined(parts, response.payload) });
    this.#szx2 = Math.min(this.#szx2 ?? this.#tuning.preferredSzx, block2.szx);
    if (received + length >= longestBody(this.#szx2)) return TOO_LARGE;
    parts.push(Uint8Array.from(response.payload)); // it was a view of a datagram
    this.#observe ??= findOption(copied(first).options, OptionNumber.Observe);
    this.#state = {
      kind: "fetching",
      first: received === 0 ? copied(first) : first,
      parts,
      received: received + length,
    };
    return this.#next();
  }

  #changed(): BlockStep {
    if (SAFE.has(this.#request.code) && this.#restarts < this.#tuning.maxBlockRestarts)
      return this.#again();
    return { kind: "failed", reason: "bodyChanged" };
  }

  #done(response: Response): BlockStep {
    if (this.#observe === undefined || !isSuccess(response.code)) return done(response);
    const options = response.options.filter((o) => o.number !== OptionNumber.Observe);
    return done({ ...response, options: sortOptions([...options, this.#observe]) });
  }

  /** From the beginning; an observation is not registered twice. */
  #again(): BlockStep {
    this.#restarts++;
    this.#quiet = true;
    this.#state = this.#blocked ? { kind: "sending", offset: 0 } : { kind: "plain" };
    return this.#next();
  }

  // ── What is sent ──

  #next(): BlockStep {
    return { kind: "next", request: this.#ask() };
  }

  #ask(): Request {
    const state = this.#state;
    switch (state.kind) {
      case "plain":
        return this.#plain();
      case "sending":
        return this.#block(state.offset);
      case "fetching":
        return this.#further(state.received);
      default:
        return unreachable(state);
    }
  }

  #plain(): Request {
    if (this.#raw || (!this.#quiet && this.#szx2 === undefined)) return this.#request;
    const options = this.#options(this.#quiet ? [OptionNumber.Observe] : []);
    return { ...this.#request, options: sortOptions([...options, ...this.#early()]) };
  }

  #block(offset: number): Request {
    this.#blocked = true;
    const { code, payload } = this.#request;
    const szx = this.#szx1;
    const end = Math.min(payload.length, offset + blockSize(szx));
    const more = end < payload.length;
    const options = this.#options([
      // RFC 7959 2.10: only with block 0.
      ...(offset > 0 ? [OptionNumber.IfNoneMatch] : []),
      // These are about the answer, and that comes to the last block; its token is the observation's.
      ...(more || this.#quiet ? [OptionNumber.Observe] : []),
      ...(more ? [OptionNumber.Size2] : []),
    ]);
    const num = offset / blockSize(szx);
    options.push(blockOption(OptionNumber.Block1, { num, more, szx }));
    if (offset === 0) options.push(uintOption(OptionNumber.Size1, payload.length));
    if (!more) options.push(...this.#early());
    return { code, options: sortOptions(options), payload: payload.subarray(offset, end) };
  }

  /** RFC 7959 2.6, 2.7: the same options, without Block1 and Observe. */
  #further(received: number): Request {
    const { code, payload } = this.#request;
    const szx = this.#szx2!; // settled by the first block
    const options = this.#options([
      OptionNumber.IfNoneMatch,
      OptionNumber.Observe,
      OptionNumber.Size2,
    ]);
    const num = received / blockSize(szx);
    options.push(blockOption(OptionNumber.Block2, { num, more: false, szx }));
    // The payload of a FETCH is part of what is asked for (RFC 8132 2.1).
    const question = code === Code.FETCH && !this.#blocked ? payload : EMPTY;
    return { code, options: sortOptions(options), payload: question };
  }

  /** The request's own options but these, with the Request-Tag where blocks are sent. */
  #options(without: readonly number[]): Option[] {
    const options = this.#request.options.filter(
      ({ number }) => number !== OptionNumber.Block2 && !without.includes(number),
    );
    if (this.#blocked && this.#tag !== undefined)
      options.push(opaqueOption(OptionNumber.RequestTag, this.#tag));
    return options;
  }

  #early(): Option[] {
    if (this.#szx2 === undefined) return [];
    return [blockOption(OptionNumber.Block2, { num: 0, more: false, szx: this.#szx2 })];
  }
}

export type BlockTransferOptions = {
  /** Largest blocks, both ways, where the path or a security layer leaves less room than the tuning says. */
  readonly szx?: number;
  /** See RequestTags; goes along only if the request is sent in blocks. */
  readonly requestTag?: Uint8Array | undefined;
  /** Another one, when the transfer begins again. */
  readonly newTag?: () => Uint8Array | undefined;
};

export type BlockStep =
  | { readonly kind: "next"; readonly request: Request }
  /** The answer with its whole body, and without the options of the transfer. */
  | { readonly kind: "done"; readonly response: Response }
  | { readonly kind: "failed"; readonly reason: "tooLarge" | "bodyChanged" | "badResponse" };

type Sending = { readonly kind: "sending"; readonly offset: number };

type Fetching = {
  readonly kind: "fetching";
  /** Block 0; the later ones must be of the same body. */
  readonly first: Response;
  /** Grows in place: a body may have 2^16 blocks. */
  readonly parts: Uint8Array[];
  readonly received: number;
};

type State = { readonly kind: "plain" } | Sending | Fetching;

/** RFC 7959 2.4: blocks whose tags differ are not joined; 2.3: nor those of different formats. */
function sameBody(first: Response, block: Response): boolean {
  return (
    first.code === block.code &&
    sameOption(first, block, OptionNumber.ETag) &&
    sameOption(first, block, OptionNumber.ContentFormat) &&
    sameOption(first, block, OptionNumber.Oscore) // of outer blocks: each protected message has its own
  );
}

function sameOption(a: Response, b: Response, number: number): boolean {
  const inA = findOption(a.options, number);
  const inB = findOption(b.options, number);
  if (inA === undefined || inB === undefined) return inA === inB;
  return equal(inA.value, inB.value);
}

function ownBlock2(request: Request): Block | undefined {
  try {
    return findBlock(request.options, OptionNumber.Block2);
  } catch {
    throw new UsageError("the request's Block2 option is no block option");
  }
}

/** What blocks of this size can carry, numbered with 20 bits. */
function longestBody(szx: number): number {
  return blockSize(szx) * (MAX_BLOCK_NUM + 1);
}

/** The datagram it came in is not ours to keep. */
function copied({ code, options }: Response): Response {
  const own = options.map(({ number, value }) => ({ number, value: Uint8Array.from(value) }));
  return { code, options: own, payload: EMPTY };
}

function joined(parts: readonly Uint8Array[], last: Uint8Array): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, last.length));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  whole.set(last, at);
  return whole;
}

function done(response: Response): BlockStep {
  const options = response.options.filter((option) => !OF_TRANSFER.has(option.number));
  return { kind: "done", response: { ...response, options } };
}

const BAD_RESPONSE: BlockStep = { kind: "failed", reason: "badResponse" };
const TOO_LARGE: BlockStep = { kind: "failed", reason: "tooLarge" };
const OF_TRANSFER: ReadonlySet<number> = new Set([
  OptionNumber.Block1,
  OptionNumber.Block2,
  OptionNumber.Size2,
]);
/** May be asked again at any time (RFC 7252 5.1, RFC 8132 2). */
const SAFE: ReadonlySet<number> = new Set([Code.GET, Code.FETCH]);
/** May be carried out twice (the same sections). */
export const IDEMPOTENT: ReadonlySet<number> = new Set([
  Code.GET,
  Code.FETCH,
  Code.PUT,
  Code.DELETE,
  Code.iPATCH,
]);
