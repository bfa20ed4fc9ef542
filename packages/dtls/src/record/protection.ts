import { type AesCcm, Arena, type Rng, aesCcm, equalSecret } from "@godwit/base";
import { ContentType, DTLS_1_2 } from "../codes.ts";
import { aeadOpen, aeadSeal, cbcDecrypt, cbcEncrypt, hmacSha256 } from "../crypto.ts";
import type { CipherSpec } from "../suites.ts";
import { type DtlsRecord, HEADER, write48, writeHeader } from "./header.ts";

/**
 *   AEAD  nonce_explicit(8) | ciphertext | tag                                     RFC 5246 6.2.3.3, RFC 6655 3
 *   CBC   iv(16) | ciphertext | mac(32), encrypt-then-MAC only                     RFC 7366 3
 *   with a connection id the plaintext is  content | real type(1) | zeros          RFC 9146 4
 */

/** One whole record. `keys`: MAC key, key and salt of the writing direction. `padding`: zeros to add where a CID allows it. */
export function sealRecord(
  cipher: CipherSpec,
  keys: Uint8Array,
  record: {
    readonly type: number;
    readonly epoch: number;
    readonly sequence: number;
    readonly cid: Uint8Array;
    readonly content: Uint8Array;
    readonly padding?: number;
  },
  rng: Rng,
): Uint8Array {
  const { type, epoch, sequence, cid, content } = record;
  const withCid = cid.length > 0;
  const plaintext = withCid ? innerPlaintext(content, type, record.padding ?? 0) : content;
  const outer = { type: withCid ? ContentType.tls12Cid : type, epoch, sequence, cid };
  if (cipher.kind === "cbc") return sealCbc(keys, outer, plaintext, rng);
  const length = NONCE_EXPLICIT + plaintext.length + cipher.tag;
  const out = new Uint8Array(HEADER + cid.length + length);
  const at = writeHeader(out, 0, outer, length);
  // Unique by construction and never random: a repeated nonce would open both records.
  writeEpochSequence(out, at, epoch, sequence);
  const nonce = nonceFor(cipher, keys, out, at);
  const aad = additionalData(outer, plaintext.length);
  const key = aeadKey(cipher, keys);
  const start = at + NONCE_EXPLICIT;
  const ccm = shortCcm(cipher, plaintext.length);
  if (ccm !== undefined) ccm.seal(key, nonce, aad, plaintext, cipher.tag, out, start);
  else aeadSeal(cipher, key, nonce, aad, plaintext, out, start);
  wipeKey(key);
  return out;
}

/** What came out of a record, or why nothing did. Only `forged` speaks of the key's safety. */
export type Opened =
  | { readonly ok: true; readonly type: number; readonly content: Uint8Array }
  | { readonly ok: false; readonly why: "short" | "forged" | "noType" | "innerType" | "overflow" };

/** Verifies and decrypts. Throws nothing, whatever the bytes. */
export function openRecord(cipher: CipherSpec, keys: Uint8Array, record: DtlsRecord): Opened {
  const plaintext = cipher.kind === "cbc" ? openCbc(keys, record) : openAead(cipher, keys, record);
  if (plaintext === "short") return SHORT;
  if (plaintext === "forged") return FORGED;
  const { bytes, length } = plaintext;
  if (length > MAX_PLAINTEXT) return OVERFLOW;
  if (record.type !== ContentType.tls12Cid) {
    return { ok: true, type: record.type, content: CONTENTS.copy(bytes, length) };
  }
  let end = length - 1;
  while (end >= 0 && bytes[end] === 0) end -= 1;
  if (end < 0) return NO_TYPE;
  const type = bytes[end]!; // end is within
  if (!INNER_TYPES.has(type)) return INNER_TYPE;
  return { ok: true, type, content: CONTENTS.copy(bytes, end) };
}

/** Bytes that protection adds to `content`, header included. */
export function recordOverhead(cipher: CipherSpec, cidLength: number, content: number): number {
  const inner = cidLength > 0 ? 1 : 0;
  if (cipher.kind !== "cbc") {
    return HEADER + cidLength + NONCE_EXPLICIT + inner + cipher.tag;
  }
  const padded = Math.floor((content + inner) / BLOCK) * BLOCK + BLOCK;
  return HEADER + cidLength + BLOCK + padded - content + cipher.tag;
}

/**
 * RFC 5246 6.2.3.3; with a connection id RFC 9146 5.3. `length`: of the plaintext; for CBC of iv and ciphertext.
 * Shared: good until the next call.
 */
function additionalData(
  outer: Pick<DtlsRecord, "type" | "epoch" | "sequence" | "cid">,
  length: number,
): Uint8Array {
  const { type, epoch, sequence, cid } = outer;
  const n = cid.length;
  if (n === 0) {
    const aad = AAD;
    writeEpochSequence(aad, 0, epoch, sequence);
    aad[8] = type;
    aad[9] = DTLS_1_2 >>> 8;
    aad[10] = DTLS_1_2 & 0xff;
    aad[11] = length >>> 8;
    aad[12] = length;
    return aad;
  }
  const aad = (AAD_WITH_CID[n] ??= new Uint8Array(23 + n));
  aad.fill(0xff, 0, 8); // seq_num_placeholder
  aad[8] = ContentType.tls12Cid;
  aad[9] = n;
  aad[10] = ContentType.tls12Cid;
  aad[11] = DTLS_1_2 >>> 8;
  aad[12] = DTLS_1_2 & 0xff;
  writeEpochSequence(aad, 13, epoch, sequence);
  aad.set(cid, 21);
  aad[21 + n] = length >>> 8;
  aad[22 + n] = length;
  return aad;
}

/** What a record has inside: the first `length` of `bytes`, which are good until the next record. */
type Plaintext = { readonly bytes: Uint8Array; readonly length: number };

function openAead(
  cipher: CipherSpec,
  keys: Uint8Array,
  record: DtlsRecord,
): Plaintext | "short" | "forged" {
  const { fragment } = record;
  const length = fragment.length - NONCE_EXPLICIT - cipher.tag;
  if (length < 0) return "short";
  // The sender may choose it freely (RFC 6655 3), and some do: always the one on the wire.
  const nonce = nonceFor(cipher, keys, fragment, 0);
  const aad = additionalData(record, length);
  const key = aeadKey(cipher, keys);
  const ccm = shortCcm(cipher, length);
  if (ccm !== undefined) {
    const { tag } = cipher;
    const opened = ccm.open(key, nonce, aad, fragment, NONCE_EXPLICIT, tag, PLAINTEXT);
    wipeKey(key);
    return opened < 0 ? "forged" : { bytes: PLAINTEXT, length };
  }
  const bytes = aeadOpen(cipher, key, nonce, aad, fragment.subarray(NONCE_EXPLICIT));
  wipeKey(key);
  return bytes === undefined ? "forged" : { bytes, length };
}

/** AES-128-CCM without anything made per record, for the short ones that nearly all are. */
function shortCcm(cipher: CipherSpec, length: number): AesCcm | undefined {
  if (cipher.kind !== "ccm" || cipher.key !== 16) return undefined;
  const ccm = aesCcm();
  if (ccm === undefined || length > Math.min(ccm.longest, PLAINTEXT.length)) return undefined;
  return ccm;
}

function sealCbc(
  keys: Uint8Array,
  outer: Pick<DtlsRecord, "type" | "epoch" | "sequence" | "cid">,
  plaintext: Uint8Array,
  rng: Rng,
): Uint8Array {
  const pad = BLOCK - (plaintext.length % BLOCK);
  const blocks = new Uint8Array(plaintext.length + pad).fill(pad - 1);
  blocks.set(plaintext);
  const length = BLOCK + blocks.length;
  const out = new Uint8Array(HEADER + outer.cid.length + length + MAC);
  const at = writeHeader(out, 0, outer, length + MAC);
  const iv = rng.bytes(BLOCK);
  out.set(iv, at);
  out.set(cbcEncrypt(keys.subarray(MAC, MAC + 16), iv, blocks), at + BLOCK);
  const covered = out.subarray(at, at + length);
  out.set(hmacSha256(keys.subarray(0, MAC), additionalData(outer, length), covered), at + length);
  return out;
}

function openCbc(keys: Uint8Array, record: DtlsRecord): Plaintext | "short" | "forged" {
  const length = record.fragment.length - MAC;
  if (length < 2 * BLOCK || length % BLOCK !== 0) return "short";
  const covered = record.fragment.subarray(0, length);
  const mac = hmacSha256(keys.subarray(0, MAC), additionalData(record, length), covered);
  if (!equalSecret(mac, record.fragment.subarray(length))) return "forged";
  const iv = covered.subarray(0, BLOCK);
  const blocks = cbcDecrypt(keys.subarray(MAC, MAC + 16), iv, covered.subarray(BLOCK));
  // The MAC has verified, so the padding is the peer's own; it is no oracle any more.
  const pad = blocks[blocks.length - 1]! + 1; // at least one block
  if (pad > blocks.length) return "forged";
  return { bytes: blocks, length: blocks.length - pad };
}

function innerPlaintext(content: Uint8Array, type: number, padding: number): Uint8Array {
  const inner = new Uint8Array(content.length + 1 + padding);
  inner.set(content);
  inner[content.length] = type;
  return inner;
}

/** The salt and the eight explicit bytes at `at`. Shared: good until the next call. */
function nonceFor(cipher: CipherSpec, keys: Uint8Array, bytes: Uint8Array, at: number): Uint8Array {
  const salt = cipher.mac + cipher.key;
  for (let i = 0; i < 4; i++) NONCE[i] = keys[salt + i]!; // keys hold the salt last
  for (let i = 0; i < 8; i++) NONCE[4 + i] = bytes[at + i]!; // eight bytes by the callers
  return NONCE;
}

/** The key alone. Shared: good until the next call. */
function aeadKey(cipher: CipherSpec, keys: Uint8Array): Uint8Array {
  const key = cipher.key === 16 ? KEY_128 : KEY_256;
  for (let i = 0; i < cipher.key; i++) key[i] = keys[i]!; // keys begin with it
  return key;
}

/** The room for the key is not to hold the last one until the next record. */
function wipeKey(key: Uint8Array): void {
  for (let i = 0; i < key.length; i++) key[i] = 0;
}

function writeEpochSequence(out: Uint8Array, at: number, epoch: number, sequence: number): void {
  out[at] = epoch >>> 8;
  out[at + 1] = epoch;
  write48(out, at + 2, sequence);
}

/*
 * Room for what node:crypto copies at once. A typed array made for each record and each part of it would cost as much
 * as a third of the encryption itself.
 */
const NONCE = new Uint8Array(12);
const KEY_128 = new Uint8Array(16);
const KEY_256 = new Uint8Array(32);
const AAD = new Uint8Array(13);
const AAD_WITH_CID: Uint8Array[] = [];
/** So small that who keeps a part of one content keeps little else. */
const CONTENTS = new Arena(1_024);
const PLAINTEXT = new Uint8Array(256);

const NONCE_EXPLICIT = 8;
const BLOCK = 16;
const MAC = 32;
/** RFC 5246 6.2.1; for RFC 9146 the inner plaintext. */
const MAX_PLAINTEXT = 2 ** 14;
const INNER_TYPES: ReadonlySet<number> = new Set([
  ContentType.alert,
  ContentType.handshake,
  ContentType.applicationData,
  ContentType.returnRoutabilityCheck,
]);
const SHORT: Opened = { ok: false, why: "short" };
const FORGED: Opened = { ok: false, why: "forged" };
const NO_TYPE: Opened = { ok: false, why: "noType" };
const INNER_TYPE: Opened = { ok: false, why: "innerType" };
const OVERFLOW: Opened = { ok: false, why: "overflow" };
