import { EMPTY, type Instant, type Rng, type SessionId } from "@godwit/base";
import { BlockTransfer } from "./block-client.ts";
import { LARGEST_BLOCK, blockOption } from "./block-option.ts";
import { BlockServer, type BlockResult } from "./block-server.ts";
import type { ClientRequest, OuterParts } from "./client-request.ts";
import { Code } from "./codes.ts";
import type { Request, Response } from "./message.ts";
import { OptionNumber } from "./option-numbers.ts";
import { findOption, withOption } from "./options.ts";
import { findBlock } from "./transfer-options.ts";
import type { CoapTuning } from "./tuning.ts";

// RFC 8613 4.1.3.4.2: a proxy, or a peer that knows only its path, may cut a protected message into blocks by options in
// the open. They are put together before anything is verified, so nothing here acts, and all of it is small: the longest
// whole is the protection's MAX_UNFRAGMENTED_SIZE.
//
//     outer 1:0/1 ─▶ request() ─▶ 2.31 1:0/1     outer 1:1/0 ─▶ request() ─▶ whole ─▶ unprotect
//     outer answer 2:0/1 ◀─ respond() ◀─ protect, if the request asked for a size
//
// In the client role the request waits for its answer as ever, and one beside it fetches what is missing.

/** Outer blocks in the server role, between the message layer and the protection. */
export class OuterBlocks {
  readonly #blocks: BlockServer;
  readonly #tuning: CoapTuning;

  constructor(tuning: CoapTuning, rng: Rng, maxUnfragmented: number) {
    this.#tuning = outerTuning(tuning, maxUnfragmented);
    this.#blocks = new BlockServer(this.#tuning, rng);
  }

  /** Messages being put together, and answers not fetched to their end. */
  get bodies(): number {
    return this.#blocks.bodies;
  }

  /** Bytes they hold. */
  get bytes(): number {
    return this.#blocks.bytes;
  }

  get wakeAt(): Instant | undefined {
    return this.#blocks.wakeAt;
  }

  /** A block, as it came by `carrier`: the whole that it completes, or what to say to it. */
  request(carrier: SessionId, outer: Request, now: Instant): BlockResult {
    return this.#blocks.request(carrier, outer, now);
  }

  /** What to send of the protected answer to `outer`, the request as it came (the last block's). */
  respond(carrier: SessionId, outer: Request, answer: Response, now: Instant): Response {
    if (findOption(outer.options, OptionNumber.Block2) !== undefined)
      return this.#blocks.respond(carrier, outer, answer, now);
    const block1 = findBlock(outer.options, OptionNumber.Block1);
    if (block1 === undefined) return answer;
    const szx = Math.min(block1.szx, this.#tuning.preferredSzx);
    const processed = blockOption(OptionNumber.Block1, { num: block1.num, more: false, szx });
    return { ...answer, options: withOption(answer.options, processed) };
  }

  closed(carrier: SessionId): void {
    this.#blocks.closed(carrier);
  }

  wake(now: Instant): void {
    this.#blocks.wake(now);
  }
}

/** Outer blocks in the client role: how many answers are put together, and what the rest of one is asked for by. */
export class OuterAnswers {
  readonly #tuning: CoapTuning;
  #running = 0;

  constructor(tuning: CoapTuning, maxUnfragmented: number) {
    this.#tuning = outerTuning(tuning, maxUnfragmented);
  }

  /** For the first block of the answer to `whole`, which is to be handled next. Undefined: it is none, or one too many. */
  begin(whole: ClientRequest, first: Response, now: Instant): OuterParts | undefined {
    const { outer, fetching } = whole;
    const { maxOuterBodies, outerBodyLifetime } = this.#tuning;
    if (outer === undefined || fetching !== undefined || this.#running >= maxOuterBodies) return;
    const { value } = findOption(first.options, OptionNumber.Block2)!; // it has a block
    if (value.length !== 1 || value[0]! > HIGHEST_FIRST) return;
    // The ciphertext of a FETCH is part of what is asked for (RFC 8132 2.1); a POST is done, and only its answer is wanted.
    const isQuestion = outer.code === Code.FETCH && outer.payload.length <= LARGEST_BLOCK;
    const asked = isQuestion ? outer : { ...outer, payload: EMPTY };
    this.#running += 1;
    const transfer = new BlockTransfer(asked, this.#tuning);
    return { whole, transfer, until: now + outerBodyLifetime };
  }

  /** One that had begun is complete, or given up. */
  ended(): void {
    this.#running -= 1;
  }
}

/** Whether it is a part of a protected answer. A first block that is the last is whole. */
export function isOuterBlock({ options }: Response): boolean {
  const block = findOption(options, OptionNumber.Block2);
  if (block === undefined || findOption(options, OptionNumber.Oscore) === undefined) return false;
  return block.value.length > 1 || ((block.value[0] ?? 0) & NUM_OR_MORE) !== 0;
}

function outerTuning(tuning: CoapTuning, maxUnfragmented: number): CoapTuning {
  return {
    ...tuning,
    maxRequestBody: maxUnfragmented,
    maxResponseBody: maxUnfragmented,
    partialBodyLifetime: tuning.outerBodyLifetime,
    maxPartialBodiesPerSession: tuning.maxOuterBodiesPerSession,
    maxPartialBytesPerSession: tuning.maxOuterBodiesPerSession * maxUnfragmented,
    maxPartialBodies: tuning.maxOuterBodies,
    maxPartialBytes: tuning.maxOuterBytes,
  };
}

/** Block number 0, with more to come, of any size. */
const HIGHEST_FIRST = 0x0f;
const NUM_OR_MORE = 0xf8;
