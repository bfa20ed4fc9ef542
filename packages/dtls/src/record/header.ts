import { EMPTY, FormatError, fits, misfit } from "@godwit/base";
import { ContentType } from "../codes.ts";

/**
 *   type(1) version(2) epoch(2) sequence(6) [cid(n)] length(2) fragment       RFC 6347 4.1, RFC 9146 4
 */
export type DtlsRecord = {
  readonly type: number;
  readonly version: number;
  readonly epoch: number;
  readonly sequence: number;
  /** Empty unless `type` is tls12_cid. */
  readonly cid: Uint8Array;
  /** Still protected where `epoch` is above 0. A view into the datagram. */
  readonly fragment: Uint8Array;
  /** Bytes of the whole record, header included. */
  readonly size: number;
};

/**
 * Reads the record that begins at `at`. `cidLength`: how long the connection ids are that we gave out, for the record
 * does not say. Undefined where the datagram ends too early: what follows cannot be found then.
 */
function scanRecord(bytes: Uint8Array, at: number, cidLength: number): DtlsRecord | undefined {
  const type = bytes[at]!; // the caller asks only for bytes that are there
  const n = type === ContentType.tls12Cid ? cidLength : 0;
  const start = at + HEADER + n;
  if (bytes.length < start) return undefined;
  const length = (bytes[start - 2]! << 8) | bytes[start - 1]!; // the line above checked the end
  if (bytes.length < start + length) return undefined;
  return {
    type,
    version: (bytes[at + 1]! << 8) | bytes[at + 2]!, // all within the header
    epoch: (bytes[at + 3]! << 8) | bytes[at + 4]!,
    sequence: read48(bytes, at + 5),
    cid: n === 0 ? EMPTY : bytes.subarray(at + 11, at + 11 + n),
    fragment: bytes.subarray(start, start + length),
    size: HEADER + n + length,
  };
}

/** As `scanRecord`. @throws FormatError where the datagram ends too early */
export function readRecord(bytes: Uint8Array, at: number, cidLength: number): DtlsRecord {
  const record = scanRecord(bytes, at, cidLength);
  if (record === undefined) throw new FormatError("record cut short, or longer than its datagram");
  return record;
}

/** As `scanRecord`; undefined also where no record begins that DTLS 1.2 has, and so nothing behind it can be found either. */
export function recordAt(bytes: Uint8Array, at: number, cidLength: number): DtlsRecord | undefined {
  const type = bytes[at]!; // the caller asks only for bytes that are there
  if (type < ContentType.changeCipherSpec || type > LAST_TYPE) return undefined;
  return scanRecord(bytes, at, cidLength);
}

/**
 * Bytes of a record at `at` that nothing protects, or that is of epoch 1 and names no connection id; 0 for any other, and
 * where the datagram ends too early. Makes nothing: by this the records are passed over that belong to nobody.
 */
export function sizeOfNameless(bytes: Uint8Array, at: number): number {
  if (bytes.length < at + HEADER || bytes[at + 1] !== 0xfe) return 0;
  const type = bytes[at]!; // within, as all below
  if (type < ContentType.changeCipherSpec || type > ContentType.applicationData) return 0;
  const size = HEADER + ((bytes[at + 11]! << 8) | bytes[at + 12]!);
  return at + size > bytes.length ? 0 : size;
}

/** Writes a header for `length` bytes of fragment into `out`; returns where the fragment begins. */
export function writeHeader(
  out: Uint8Array,
  at: number,
  header: {
    readonly type: number;
    readonly epoch: number;
    readonly sequence: number;
    readonly cid: Uint8Array;
    readonly version?: number;
  },
  length: number,
): number {
  const { type, epoch, sequence, cid, version = 0xfefd } = header;
  if (!fits(epoch, 2 ** 16)) misfit("u16", epoch);
  if (!fits(length, 2 ** 16)) misfit("u16", length);
  out[at] = type;
  out[at + 1] = version >>> 8;
  out[at + 2] = version;
  out[at + 3] = epoch >>> 8;
  out[at + 4] = epoch;
  write48(out, at + 5, sequence);
  out.set(cid, at + 11);
  out[at + 11 + cid.length] = length >>> 8;
  out[at + 12 + cid.length] = length;
  return at + HEADER + cid.length;
}

/** A record of epoch 0, which nothing protects. */
export function plainRecord(type: number, sequence: number, fragment: Uint8Array): Uint8Array {
  const out = new Uint8Array(HEADER + fragment.length);
  writeHeader(out, 0, { type, epoch: 0, sequence, cid: EMPTY }, fragment.length);
  out.set(fragment, HEADER);
  return out;
}

export function read48(bytes: Uint8Array, at: number): number {
  const high = (bytes[at]! << 8) | bytes[at + 1]!; // callers keep at + 6 within
  const low =
    bytes[at + 2]! * 0x100_0000 + ((bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!);
  return high * 0x1_0000_0000 + low;
}

export function write48(out: Uint8Array, at: number, value: number): void {
  if (!fits(value, 2 ** 48)) misfit("u48", value);
  const high = Math.floor(value / 0x1_0000_0000);
  out[at] = high >>> 8;
  out[at + 1] = high;
  out[at + 2] = value >>> 24; // the shift takes the low 32 bits
  out[at + 3] = value >>> 16;
  out[at + 4] = value >>> 8;
  out[at + 5] = value;
}

/** The last content type that is a DTLS 1.2 record. */
const LAST_TYPE = 27;
/** Record header without a connection id. */
export const HEADER = 13;
