import { type Rng, concat, misfit, utf8 } from "@godwit/base";
import { type SigningKey, signEcdsa } from "./crypto.ts";
import {
  BIT_STRING,
  BOOLEAN,
  EXTENSIONS,
  GENERALIZED_TIME,
  INTEGER,
  OCTET_STRING,
  SEQUENCE,
  SET,
  UTC_TIME,
  UTF8_STRING,
} from "./der-tags.ts";

/**
 * A certificate of P-256 key by itself, for who pins it: version 3, for signatures, of servers, from 2024 on without an end
 * that means anything (RFC 5280 4.1.2.5). Its subject is the common name `name`.
 */
export function selfSigned(key: SigningKey, name: string, rng: Rng): Uint8Array {
  const subject = tlv(SEQUENCE, tlv(SET, tlv(SEQUENCE, COMMON_NAME, tlv(UTF8_STRING, utf8(name)))));
  const serial = rng.bytes(16);
  serial[0] = (serial[0]! & 0x3f) | 0x40; // positive, and as long as it is; there are 16
  const extensions = [
    extension(KEY_USAGE, true, tlv(BIT_STRING, Uint8Array.of(7, 0x80))), // digitalSignature
    extension(EXTENDED_KEY_USAGE, false, tlv(SEQUENCE, SERVER_AUTH)),
  ];
  const tbs = tlv(
    SEQUENCE,
    tlv(0xa0, tlv(INTEGER, Uint8Array.of(2))),
    tlv(INTEGER, serial),
    ECDSA_WITH_SHA256,
    subject,
    tlv(SEQUENCE, tlv(UTC_TIME, utf8(FROM)), tlv(GENERALIZED_TIME, utf8(FOR_EVER))),
    subject,
    key.spki,
    tlv(EXTENSIONS, tlv(SEQUENCE, ...extensions)),
  );
  const signature = concat(Uint8Array.of(0), signEcdsa(key, tbs));
  return tlv(SEQUENCE, tbs, ECDSA_WITH_SHA256, tlv(BIT_STRING, signature));
}

function extension(id: Uint8Array, critical: boolean, value: Uint8Array): Uint8Array {
  const flag = critical ? [tlv(BOOLEAN, Uint8Array.of(0xff))] : [];
  return tlv(SEQUENCE, id, ...flag, tlv(OCTET_STRING, value));
}

/** One element of DER: tag, length, content. */
function tlv(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = concat(...parts);
  const { length } = content;
  if (length > 0xffff) misfit("u16", length);
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >>> 8, length & 0xff];
  return concat(Uint8Array.from(head), content);
}

const FROM = "240101000000Z";
const FOR_EVER = "99991231235959Z";
/** Object identifiers as elements: 2.5.4.3, 2.5.29.15, 2.5.29.37, 1.3.6.1.5.5.7.3.1, and 1.2.840.10045.4.3.2 in its sequence. */
const COMMON_NAME = Uint8Array.of(0x06, 3, 0x55, 0x04, 0x03);
const KEY_USAGE = Uint8Array.of(0x06, 3, 0x55, 0x1d, 0x0f);
const EXTENDED_KEY_USAGE = Uint8Array.of(0x06, 3, 0x55, 0x1d, 0x25);
const SERVER_AUTH = Uint8Array.of(0x06, 8, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01);
const ECDSA_WITH_SHA256 = Uint8Array.of(
  ...[0x30, 10, 0x06, 8],
  ...[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
);
