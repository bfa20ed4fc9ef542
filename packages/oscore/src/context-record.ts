import { FormatError, Reader, UsageError, Writer, concat, equalSecret } from "@godwit/base";
import { hmac } from "./crypto.ts";
import { SEQUENCE_LIMIT } from "./security-context.ts";

//   version 1 | flags 1 | bound 6 | encryptions 6 | [top 6] | [window bound 6] | [length 1, ID Context] | proof 8

/** What must outlive a restart of one security context (RFC 8613 B.1.1). It holds no key: keys come from the credential. */
export type ContextRecord = {
  readonly idContext: Uint8Array | undefined;
  /** Sequence numbers from here on were never used. */
  readonly bound: number;
  /** Messages encrypted, at least. */
  readonly encryptions: number;
  /** The peer wants the ID Context with every request. */
  readonly sendIdContext: boolean;
  /**
   * The replay window was lost once: a request below `windowBound`, any where that is not known, may have been answered before, and
   * its nonce is not used for another answer (RFC 8613 8.3).
   */
  readonly answersRepeat: boolean;
  /**
   * Written at a clean stop: no number above was accepted, -1 for none at all. Undefined: the replay window is lost, and
   * the next request must be shown to be fresh (B.1.2).
   */
  readonly windowTop: number | undefined;
  /** No Partial IV of the peer at or above this was accepted. Undefined: that is not known. */
  readonly windowBound: number | undefined;
};

/** The bytes of a record, which only the holder of `secret` can make: a damaged bound would repeat nonces. */
export function encodeRecord(record: ContextRecord, secret: Uint8Array): Uint8Array {
  const { idContext, bound, encryptions, sendIdContext, answersRepeat } = record;
  const { windowTop, windowBound } = record;
  if (idContext !== undefined && idContext.length > 0xff)
    throw new UsageError("ID Context too long");
  const flags =
    (idContext === undefined ? 0 : HAS_ID_CONTEXT) |
    (sendIdContext ? SEND_ID_CONTEXT : 0) |
    (answersRepeat ? ANSWERS_REPEAT : 0) |
    (windowTop === undefined ? 0 : HAS_WINDOW) |
    (windowBound === undefined ? 0 : HAS_WINDOW_BOUND);
  const writer = new Writer().u8(VERSION).u8(flags).u48(bound).u48(encryptions);
  if (windowTop !== undefined) writer.u48(windowTop + 1);
  if (windowBound !== undefined) writer.u48(windowBound);
  if (idContext !== undefined) writer.u8(idContext.length).append(idContext);
  const body = writer.bytes();
  return concat(body, proof(body, secret));
}

/**
 * The record in bytes that {@link encodeRecord} made.
 *
 * @throws FormatError for any others, and for a record of another credential
 */
export function decodeRecord(bytes: Uint8Array, secret: Uint8Array): ContextRecord {
  if (bytes.length < PROOF_LENGTH) throw new FormatError("record too short");
  const body = bytes.subarray(0, bytes.length - PROOF_LENGTH);
  if (!equalSecret(proof(body, secret), bytes.subarray(body.length)))
    throw new FormatError("record does not belong to this credential");
  const reader = new Reader(body);
  const version = reader.u8();
  if (version !== VERSION) throw new FormatError(`record of version ${version}`);
  const flags = reader.u8();
  if (flags > ALL_FLAGS) throw new FormatError("unknown flags");
  const bound = reader.u48();
  if (bound > SEQUENCE_LIMIT) throw new FormatError("bound above 2^40");
  const encryptions = reader.u48();
  const windowTop = (flags & HAS_WINDOW) === 0 ? undefined : reader.u48() - 1;
  const windowBound = (flags & HAS_WINDOW_BOUND) === 0 ? undefined : reader.u48();
  const idContext = (flags & HAS_ID_CONTEXT) === 0 ? undefined : reader.take(reader.u8()).slice();
  reader.end("record");
  const sendIdContext = (flags & SEND_ID_CONTEXT) !== 0;
  const answersRepeat = (flags & ANSWERS_REPEAT) !== 0;
  return { idContext, bound, encryptions, sendIdContext, answersRepeat, windowTop, windowBound };
}

function proof(body: Uint8Array, secret: Uint8Array): Uint8Array {
  return hmac("sha256", secret, concat(PURPOSE, body)).subarray(0, PROOF_LENGTH);
}

const VERSION = 1;
const HAS_ID_CONTEXT = 0x01;
const SEND_ID_CONTEXT = 0x02;
const HAS_WINDOW = 0x04;
const HAS_WINDOW_BOUND = 0x08;
const ANSWERS_REPEAT = 0x10;
const ALL_FLAGS = 0x1f;
const PROOF_LENGTH = 8;
/** Tells this use of the key from HKDF's, whose info begins with 0x85. */
const PURPOSE = Uint8Array.of(0x00);
