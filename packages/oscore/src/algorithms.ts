import { UsageError } from "@godwit/base";

/** What the AEAD of a context needs and how much one key of it may do. */
export type Aead = {
  /** Value in the COSE Algorithms registry (RFC 9053 4.1-4.3). */
  readonly id: number;
  readonly name: string;
  readonly cipher:
    | "aes-128-ccm"
    | "aes-256-ccm"
    | `aes-${128 | 192 | 256}-gcm`
    | "chacha20-poly1305";
  readonly keyLength: number;
  readonly nonceLength: number;
  readonly tagLength: number;
  /** Longest plaintext, in bytes: the length field of CCM with L = 2 has 16 bits. */
  readonly maxPlaintext: number;
  /** Messages encrypted under one key (RFC 9053 4.2.1, RFC 9147 4.5.3). */
  readonly maxEncryptions: number;
  /** Failed decryptions under one key. With a 64-bit tag one forgery in 2^44 then succeeds. */
  readonly maxForgeries: number;
};

/** The hash of the context's HKDF (RFC 5869). */
export type HkdfHash = "sha256" | "sha384" | "sha512";

/** AES-CCM-16-64-128, mandatory to implement and the default (RFC 8613 3.2). */
export const AES_CCM_16_64_128 = 10;

/** Every AEAD of the COSE registry that a nonce of 7 to 13 bytes and a Sender ID fit into. */
export const AEADS: ReadonlyMap<number, Aead> = new Map(
  [
    gcm(1, 128),
    gcm(2, 192),
    gcm(3, 256),
    ccm(AES_CCM_16_64_128, 16, 64, 128),
    ccm(11, 16, 64, 256),
    ccm(12, 64, 64, 128),
    ccm(13, 64, 64, 256),
    chacha20(24),
    ccm(30, 16, 128, 128),
    ccm(31, 16, 128, 256),
    ccm(32, 64, 128, 128),
    ccm(33, 64, 128, 256),
  ].map((aead) => [aead.id, aead]),
);

/** The AEAD registered as `id`; throws UsageError for one that OSCORE cannot use. */
export function aeadOf(id: number): Aead {
  const aead = AEADS.get(id);
  if (aead === undefined) throw new UsageError(`no AEAD algorithm: ${id}`);
  return aead;
}

/**
 * The hash behind a COSE value: direct+HKDF -10 and -11, or HMAC 5, 6, 7 (RFC 9053 3.1, 5.1; LwM2M object 21 speaks of the
 * HMAC). Throws UsageError for another.
 */
export function hkdfOf(id: number): HkdfHash {
  switch (id) {
    case -10:
    case 5:
      return "sha256";
    case 6:
      return "sha384";
    case -11:
    case 7:
      return "sha512";
    default:
      throw new UsageError(`no HKDF algorithm: ${id}`);
  }
}

/** `lengthBits`: of the length field L, so the nonce has 15 - L bytes (RFC 3610 2). */
function ccm(id: number, lengthBits: 16 | 64, tagBits: 64 | 128, keyBits: 128 | 256): Aead {
  return {
    id,
    name: `AES-CCM-${lengthBits}-${tagBits}-${keyBits}`,
    cipher: `aes-${keyBits}-ccm`,
    keyLength: keyBits / 8,
    nonceLength: 15 - lengthBits / 8,
    tagLength: tagBits / 8,
    maxPlaintext: lengthBits === 16 ? 0xffff : 0x7fff_ffff,
    maxEncryptions: 2 ** 23,
    maxForgeries: tagBits === 64 ? 2 ** 20 : Math.floor(2 ** 23.5),
  };
}

function gcm(id: number, keyBits: 128 | 192 | 256): Aead {
  return {
    id,
    name: `A${keyBits}GCM`,
    cipher: `aes-${keyBits}-gcm`,
    keyLength: keyBits / 8,
    nonceLength: 12,
    tagLength: 16,
    maxPlaintext: 0x7fff_ffff,
    maxEncryptions: Math.floor(2 ** 24.5),
    maxForgeries: 2 ** 36,
  };
}

function chacha20(id: number): Aead {
  return {
    id,
    name: "ChaCha20/Poly1305",
    cipher: "chacha20-poly1305",
    keyLength: 32,
    nonceLength: 12,
    tagLength: 16,
    maxPlaintext: 0x7fff_ffff,
    maxEncryptions: 2 ** 40,
    maxForgeries: 2 ** 36,
  };
}
