import { EMPTY, FormatError, UsageError, fits, misfit } from "@godwit/base";

//    0 1 2 3 4 5 6 7 <------- n bytes ------->
//   |0 0 0|h|k|  n  | Partial IV (if any) ...
//    <- 1 byte -> <--- s bytes ---->
//   | s (if any) | kid context (if any) | kid (if any) ...        RFC 8613 6.1

/** The compressed COSE object of a message, without its ciphertext. Absent and empty are different things. */
export type OscoreOption = {
  /** 1 to 5 bytes, the shortest form of the number; 0 is one zero byte. */
  readonly piv: Uint8Array | undefined;
  readonly kidContext: Uint8Array | undefined;
  readonly kid: Uint8Array | undefined;
};

/**
 * Reads the value of the OSCORE option.
 *
 * @throws FormatError for reserved bits and lengths, a Partial IV with leading zeros, a flag byte of zero, and bytes
 * missing or left over. The answer to a request is 4.02 (RFC 8613 8.2).
 */
export function decodeOscoreOption(value: Uint8Array): OscoreOption {
  const option = scanOscoreOption(value);
  if (typeof option === "string") throw new FormatError(option);
  return option;
}

/** {@link decodeOscoreOption} with the fault as its result: anybody can send one, and an error for each costs. */
export function scanOscoreOption(value: Uint8Array): OscoreOption | string {
  if (value.length === 0) return NOTHING;
  const flags = value[0]!; // not empty
  if (flags === 0) return "all flags zero is the empty option";
  if ((flags & RESERVED) !== 0) return "reserved flag bits";
  let at = 1;
  const n = flags & PIV_LENGTH;
  if (n > MAX_PIV) return "Partial IV length is reserved";
  if (at + n > value.length) return "Partial IV ends early";
  const piv = n === 0 ? undefined : value.subarray(at, at + n);
  if (n > 1 && value[at] === 0) return "Partial IV with leading zeros";
  at += n;
  let kidContext: Uint8Array | undefined;
  if ((flags & KID_CONTEXT) !== 0) {
    const s = value[at++];
    if (s === undefined || at + s > value.length) return "kid context ends early";
    kidContext = value.subarray(at, at + s);
    at += s;
  }
  const kid = (flags & KID) === 0 ? undefined : value.subarray(at);
  if (kid === undefined && at < value.length) return "bytes after the last field";
  return { piv, kidContext, kid };
}

/**
 * Where the kid begins in the value of the option that is the `length` bytes from `from` on: it reaches to the end of that. -1
 * where there is none, or the value is no option that a request may have.
 */
export function kidAt(bytes: Uint8Array, from: number, length: number): number {
  const flags = length === 0 ? 0 : bytes[from]!; // callers keep from + length within
  if ((flags & RESERVED) !== 0 || (flags & KID) === 0) return -1;
  const n = flags & PIV_LENGTH;
  if (n === 0 || n > MAX_PIV || (n > 1 && bytes[from + 1] === 0)) return -1;
  const end = from + length;
  let at = from + 1 + n;
  if ((flags & KID_CONTEXT) !== 0) {
    if (at >= end) return -1;
    at += 1 + bytes[at]!; // the line above checked the end
  }
  return at > end ? -1 : at;
}

/** The value of the option; the inverse of {@link decodeOscoreOption}, byte for byte. Throws UsageError for what cannot be said. */
export function encodeOscoreOption({ piv, kidContext, kid }: OscoreOption): Uint8Array {
  if (piv === undefined && kidContext === undefined && kid === undefined) return EMPTY;
  const n = piv?.length ?? 0;
  if (piv !== undefined && (n === 0 || n > MAX_PIV || (n > 1 && piv[0] === 0)))
    throw new UsageError("no Partial IV");
  const s = kidContext?.length ?? 0;
  if (s > 0xff) throw new UsageError(`kid context of ${s} bytes`);
  const context = kidContext === undefined ? 0 : 1 + s;
  const out = new Uint8Array(1 + n + context + (kid?.length ?? 0));
  out[0] = n | (kid === undefined ? 0 : KID) | (kidContext === undefined ? 0 : KID_CONTEXT);
  let at = 1;
  if (piv !== undefined) for (let i = 0; i < n; i++) out[at++] = piv[i]!; // i < length
  if (kidContext !== undefined) {
    out[at++] = s;
    out.set(kidContext, at);
    at += s;
  }
  if (kid !== undefined) for (let i = 0; i < kid.length; i++) out[at++] = kid[i]!; // i < length
  return out;
}

/** A sequence number as Partial IV: 1 to 5 bytes without leading zeros (RFC 8613 5). Throws UsageError for what needs more. */
export function encodePiv(sequence: number): Uint8Array {
  if (!fits(sequence, 2 ** 40)) misfit("a Partial IV", sequence);
  let n = 1;
  for (let limit = 0x100; n < MAX_PIV && sequence >= limit; limit *= 0x100) n++;
  const piv = new Uint8Array(n);
  for (let i = n - 1, rest = sequence; i >= 0; i--) {
    piv[i] = rest % 0x100; // a number of 40 bits: no shifts
    rest = Math.floor(rest / 0x100);
  }
  return piv;
}

/** The number of a Partial IV. */
export function decodePiv(piv: Uint8Array): number {
  let sequence = 0;
  for (let i = 0; i < piv.length; i++) sequence = sequence * 0x100 + piv[i]!; // i < length
  return sequence;
}

const MAX_PIV = 5;
const PIV_LENGTH = 0b0000_0111;
const KID = 0b0000_1000;
const KID_CONTEXT = 0b0001_0000;
/** The first of them is wanted by KUDOS as extension flag. */
const RESERVED = 0b1110_0000;
const NOTHING: OscoreOption = { piv: undefined, kidContext: undefined, kid: undefined };
