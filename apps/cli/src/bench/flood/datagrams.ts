import { EMPTY, Writer, concat } from "@godwit/base";
import { CON, OptionNumber, Code, encodeMessage, type NON, type Request } from "@godwit/coap";
import { encodeOscoreOption, encodePiv } from "@godwit/oscore";

// Datagrams made by hand: the codecs of the stack refuse to write what these must say.

/** A DTLS record; of type tls12_cid with `cid` behind its number. */
export function record(
  type: number,
  epoch: number,
  sequence: number,
  fragment: Uint8Array,
  cid: Uint8Array = EMPTY,
): Uint8Array {
  return new Writer(32 + fragment.length)
    .u8(type)
    .u16(0xfefd)
    .u16(epoch)
    .u48(sequence)
    .append(cid)
    .u16(fragment.length)
    .append(fragment)
    .bytes();
}

/** A record by Connection ID that nobody sealed. */
export function unsealed(
  cid: Uint8Array,
  sequence: number,
  n: number,
  { length = 40, epoch = 1 }: { readonly length?: number; readonly epoch?: number } = {},
): Uint8Array {
  return record(TLS12_CID, epoch, sequence, noise(n, length), cid);
}

export type HelloParts = {
  readonly n: number;
  readonly cookie?: Uint8Array;
  readonly suites?: Uint8Array;
  readonly compression?: number;
  readonly extensions?: Uint8Array;
  readonly messageSeq?: number;
};

/** A ClientHello in one record, of a client that speaks PSK and wants a Connection ID. */
export function hello(parts: HelloParts): Uint8Array {
  const { n, messageSeq = 0 } = parts;
  const body = helloBody(parts);
  return record(HANDSHAKE, 0, n, fragment(body.length, messageSeq, 0, body));
}

/** A part of a ClientHello, as if the rest came in other datagrams. */
export function helloFragment(n: number, from: number, to: number): Uint8Array {
  const body = helloBody({ n });
  return record(HANDSHAKE, 0, n, fragment(body.length, 0, from, body.subarray(from, to)));
}

/**
 * Records full of fragments of one byte each, of a ClientKeyExchange that is never whole: with gaps between them, or one behind
 * the other, where each datagram goes on behind the one before.
 */
export function pieces(
  n: number,
  records: number,
  fragments: number,
  how: "gaps" | "run",
): Uint8Array {
  const all = Array.from({ length: records }, (_, r) => {
    const parts = Array.from({ length: fragments }, (_, i) => {
      const nth = r * fragments + i;
      const offset = how === "gaps" ? 2 * nth + (n & 1) : (n * records * fragments + nth) % 2_900;
      return fragment(3_000, 2, offset, Uint8Array.of(offset), CLIENT_KEY_EXCHANGE);
    });
    return record(HANDSHAKE, 0, n, concat(...parts));
  });
  return concat(...all);
}

/** The second hello of a client: the first with the cookie that the server asked for. */
export function answerCookie(sent: Uint8Array, answer: Uint8Array): Uint8Array | undefined {
  // record 13, handshake 12, server_version 2, cookie
  if (answer.length < 28 || answer[0] !== HANDSHAKE || answer[13] !== HELLO_VERIFY_REQUEST) return;
  const cookie = answer.subarray(28, 28 + answer[27]!); // there are 28
  const body = sent.subarray(RECORD + MESSAGE);
  const upTo = 2 + 32 + 1;
  const second = concat(
    body.subarray(0, upTo),
    Uint8Array.of(cookie.length),
    cookie,
    body.subarray(upTo + 1),
  );
  return record(HANDSHAKE, 0, 1, fragment(second.length, 1, 0, second));
}

function helloBody({
  n,
  cookie = EMPTY,
  suites = PSK_SUITES,
  compression = 0,
  extensions = EXTENSIONS,
}: HelloParts): Uint8Array {
  return new Writer(128)
    .u16(0xfefd)
    .append(noise(n, 32))
    .prefixed(1, () => {})
    .prefixed(1, (w) => w.append(cookie))
    .prefixed(2, (w) => w.append(suites))
    .prefixed(1, (w) => w.u8(compression))
    .prefixed(2, (w) => w.append(extensions))
    .bytes();
}

function fragment(
  length: number,
  messageSeq: number,
  offset: number,
  part: Uint8Array,
  type: number = CLIENT_HELLO,
): Uint8Array {
  return new Writer(MESSAGE + part.length)
    .u8(type)
    .u24(length)
    .u16(messageSeq)
    .u24(offset)
    .u24(part.length)
    .append(part)
    .bytes();
}

/** A request as OSCORE makes it, with noise for a ciphertext. */
export function protectedBy(
  n: number,
  { kid, kidContext }: { readonly kid: Uint8Array; readonly kidContext?: Uint8Array },
): Uint8Array {
  const value = encodeOscoreOption({ piv: encodePiv(1 + (n % 0xff_ffff)), kidContext, kid });
  return withOscore(n, value);
}

/** The same with any value of the OSCORE option. */
export function withOscore(n: number, value: Uint8Array): Uint8Array {
  const options = [{ number: OptionNumber.Oscore, value }];
  return message(n, { code: Code.POST, options, payload: noise(n, 24) });
}

/** A CoAP message with a message id and a token of its own. */
export function message(
  n: number,
  { code, options, payload }: Request,
  type: typeof CON | typeof NON = CON,
): Uint8Array {
  return encodeMessage({ type, code, mid: n & 0xffff, token: counter(n), options, payload });
}

/** A copy with the `n`-th message id. */
export function numbered(bytes: Uint8Array, n: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[2] = n >>> 8;
  copy[3] = n;
  return copy;
}

/** A copy of a record that says it is of another version. */
export function ofVersion(bytes: Uint8Array, version: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[1] = version >>> 8;
  copy[2] = version;
  return copy;
}

export function repeated(times: number, bytes: Uint8Array): Uint8Array {
  return concat(...Array.from({ length: times }, () => bytes));
}

/** Bytes that look random, the same for the same `n`; `first` in place of the first. */
export function noise(n: number, length: number, first?: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = Math.imul(n + 1, 0x9e37_79b1) | 1;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  if (first !== undefined) bytes[0] = first;
  return bytes;
}

/** Four bytes that differ for every `n`. */
export function counter(n: number): Uint8Array {
  return Uint8Array.of(n >>> 24, n >>> 16, n >>> 8, n);
}

const HANDSHAKE = 22;
const TLS12_CID = 25;
const CLIENT_HELLO = 1;
const CLIENT_KEY_EXCHANGE = 16;
const HELLO_VERIFY_REQUEST = 3;
const RECORD = 13;
const MESSAGE = 12;
/** TLS_PSK_WITH_AES_128_CCM_8, and the value that says renegotiation is secure. */
const PSK_SUITES = Uint8Array.of(0xc0, 0xa8, 0x00, 0xff);
/** extended_master_secret, and connection_id with none of its own. */
const EXTENSIONS = Uint8Array.of(0x00, 0x17, 0x00, 0x00, 0x00, 0x36, 0x00, 0x01, 0x00);
