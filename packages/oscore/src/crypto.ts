import { createCipheriv, createDecipheriv, createHmac } from "node:crypto";
import { aesCcm, type AesCcm } from "@godwit/base";
import type { Aead, HkdfHash } from "./algorithms.ts";

// Short messages under AES-128-CCM, which nearly all are, go by the CCM of `base`, which makes nothing and keeps nothing of
// a key; all others by one cipher object of the system's per message. Kept objects would cost each context 2 KB, and a
// bounded cache of them would make the rate fall with the number of contexts.

/** HMAC with the hash of an HKDF (RFC 2104). */
export function hmac(hash: HkdfHash, key: Uint8Array, data: Uint8Array): Uint8Array {
  return plain(createHmac(hash, key).update(data).digest());
}

/** The pseudorandom key of a secret (RFC 5869 2.2); an empty salt is as many zeros as the hash has bytes. */
export function hkdfExtract(hash: HkdfHash, salt: Uint8Array, secret: Uint8Array): Uint8Array {
  return hmac(hash, salt, secret); // HMAC pads its key with zeros
}

/** `length` bytes, at most one block of the hash (RFC 5869 2.3): OSCORE never needs more. */
export function hkdfExpand(
  hash: HkdfHash,
  prk: Uint8Array,
  info: Uint8Array,
  length: number,
): Uint8Array {
  return plain(createHmac(hash, prk).update(info).update(FIRST).digest()).subarray(0, length);
}

/** Ciphertext and tag. */
export function seal(
  aead: Aead,
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  const sealed = new Uint8Array(plaintext.length + aead.tagLength);
  const ccm = shortCcm(aead, aad.length, plaintext.length);
  if (ccm !== undefined) {
    ccm.seal(key, nonce, aad, plaintext, aead.tagLength, sealed, 0);
    return sealed;
  }
  const cipher = createCipheriv(aead.cipher as "aes-128-ccm", key, nonce, {
    authTagLength: aead.tagLength,
  }); // the three families have one interface; the type of the first is the strictest
  cipher.setAAD(aad, { plaintextLength: plaintext.length });
  sealed.set(cipher.update(plaintext));
  cipher.final();
  sealed.set(cipher.getAuthTag(), plaintext.length);
  return sealed;
}

/** The plaintext, or undefined if `sealed` is not what the holder of the key made with this nonce and AAD. */
export function open(
  aead: Aead,
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | undefined {
  const length = sealed.length - aead.tagLength;
  if (length < 0) return undefined;
  const ccm = shortCcm(aead, aad.length, length);
  if (ccm !== undefined) {
    const out = new Uint8Array(length);
    return ccm.open(key, nonce, aad, sealed, 0, aead.tagLength, out) < 0 ? undefined : out;
  }
  const decipher = createDecipheriv(aead.cipher as "aes-128-ccm", key, nonce, {
    authTagLength: aead.tagLength,
  }); // as in `seal`
  decipher.setAuthTag(sealed.subarray(length));
  decipher.setAAD(aad, { plaintextLength: length });
  try {
    const plaintext = decipher.update(sealed.subarray(0, length));
    decipher.final();
    return plain(plaintext);
  } catch {
    return undefined; // the only thing that can fail here is the tag
  }
}

function shortCcm({ cipher }: Aead, aad: number, length: number): AesCcm | undefined {
  if (cipher !== "aes-128-ccm") return undefined;
  const ccm = aesCcm();
  const fits = ccm !== undefined && length <= ccm.longest && aad > 0 && aad <= 2 * ccm.longest;
  return fits ? ccm : undefined;
}

/** The same bytes as the plain array the rest of the package knows. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

const FIRST = Uint8Array.of(1);
