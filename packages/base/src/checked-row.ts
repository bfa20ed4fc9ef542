import { FormatError } from "./faults.ts";

//   mark 1 | CRC-32 of key and body 4 | body

/**
 * The bytes of a row that nothing else protects, with a checksum over it and its key: a damaged row, or one under another
 * key, is noticed instead of being read as something else.
 */
export function checkedRow(key: string, body: Uint8Array): Uint8Array {
  const row = new Uint8Array(HEAD + body.length);
  row.set(body, HEAD);
  const sum = checksum(key, row, HEAD);
  row[0] = MARK;
  row[1] = sum >>> 24;
  row[2] = sum >>> 16;
  row[3] = sum >>> 8;
  row[4] = sum;
  return row;
}

/** Whether a row is of this form: rows of releases before it are not. */
export function isChecked(row: Uint8Array): boolean {
  return row[0] === MARK;
}

/** What {@link checkedRow} was given, as a view. @throws FormatError where it was damaged, or belongs to another key */
export function openRow(key: string, row: Uint8Array): Uint8Array {
  if (row.length < HEAD || row[0] !== MARK) throw new FormatError("no checked row");
  const sum = ((row[1]! << 24) | (row[2]! << 16) | (row[3]! << 8) | row[4]!) >>> 0; // there are five
  if (sum !== checksum(key, row, HEAD)) throw new FormatError("damaged: its checksum is wrong");
  return row.subarray(HEAD);
}

/** CRC-32 (ISO 3309) over the key's UTF-16 and the bytes from `at` on. */
function checksum(key: string, bytes: Uint8Array, at: number): number {
  let sum = ~0;
  for (let i = 0; i < key.length; i++) {
    const unit = key.charCodeAt(i);
    sum = TABLE[(sum ^ unit) & 0xff]! ^ (sum >>> 8); // 256 entries, here and below
    sum = TABLE[(sum ^ (unit >>> 8)) & 0xff]! ^ (sum >>> 8);
  }
  for (let i = at; i < bytes.length; i++) {
    sum = TABLE[(sum ^ bytes[i]!) & 0xff]! ^ (sum >>> 8); // i < length
  }
  return ~sum >>> 0;
}

const TABLE = Int32Array.from({ length: 256 }, (_, n) => {
  let value = n;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb8_8320 : value >>> 1;
  return value;
});
/** No row of an earlier release begins so: they have their layout's number, 1, or the length of an address there. */
const MARK = 0xa5;
const HEAD = 5;
