import { EMPTY, ReplayWindow, UsageError, concat, hashBytes, type Instant } from "@godwit/base";
import { AES_CCM_16_64_128, aeadOf, type Aead, type HkdfHash } from "./algorithms.ts";
import { additionalData, keyInfo } from "./cbor.ts";
import { hkdfExpand, hkdfExtract, open, seal } from "./crypto.ts";

/** What both ends agreed upon beforehand (RFC 8613 3.2), seen from ours. */
export type InputParameters = {
  readonly masterSecret: Uint8Array;
  /** Empty if absent. */
  readonly masterSalt?: Uint8Array;
  /** 0 to 7 bytes, fewer with a shorter nonce. */
  readonly senderId: Uint8Array;
  readonly recipientId: Uint8Array;
  /** Absent and empty derive different keys. */
  readonly idContext?: Uint8Array;
  /** COSE value; AES-CCM-16-64-128 if absent. */
  readonly aead?: number;
  /** SHA-256 if absent. */
  readonly hkdf?: HkdfHash;
};

/**
 * Input parameters after HKDF-Extract: all that is needed to derive contexts for any ID Context, and one array less to
 * hold than secret and salt.
 */
export class KeySource {
  readonly aead: Aead;
  readonly hkdf: HkdfHash;
  readonly senderId: Uint8Array;
  /** Pseudorandom key, Recipient ID: in one array, for each has its price. */
  readonly #material: Uint8Array;
  readonly #prkLength: number;

  /** Throws UsageError for ids that are too long or equal, and for an empty secret (RFC 8613 3.3). */
  constructor(input: InputParameters) {
    this.aead = aeadOf(input.aead ?? AES_CCM_16_64_128);
    this.hkdf = input.hkdf ?? "sha256";
    this.senderId = shared(input.senderId);
    const { recipientId } = input;
    const longest = this.aead.nonceLength - ID_OVERHEAD;
    if (this.senderId.length > longest || recipientId.length > longest)
      throw new UsageError(`ids for ${this.aead.name} have at most ${longest} bytes`);
    if (sameBytes(this.senderId, recipientId))
      throw new UsageError("Sender ID and Recipient ID are the same");
    if (input.masterSecret.length === 0) throw new UsageError("no Master Secret");
    const prk = hkdfExtract(this.hkdf, input.masterSalt ?? EMPTY, input.masterSecret);
    this.#prkLength = prk.length;
    this.#material = concat(prk, recipientId);
  }

  /** A view, made when asked for. */
  get recipientId(): Uint8Array {
    return this.#material.subarray(this.#prkLength);
  }

  /** Of the Recipient ID, as `hashBytes` has it. */
  get recipientHash(): number {
    return hashBytes(this.#material, this.#prkLength);
  }

  /** Whether the peer calls itself so. */
  isRecipient(kid: Uint8Array): boolean {
    return this.isRecipientAt(kid, 0, kid.length);
  }

  /** The same of the bytes from `from` up to `to`. */
  isRecipientAt(bytes: Uint8Array, from: number, to: number): boolean {
    const length = to - from;
    if (this.#material.length !== this.#prkLength + length) return false;
    for (let i = 0; i < length; i++)
      if (bytes[from + i] !== this.#material[this.#prkLength + i]) return false;
    return true;
  }

  /** The secret behind all contexts of these parameters. A view, made when asked for. */
  get prk(): Uint8Array {
    return this.#material.subarray(0, this.#prkLength);
  }

  /** The security context of an ID Context (RFC 8613 3.2). `window`: size of its replay window. */
  derive(idContext: Uint8Array | undefined, window?: number): SecurityContext {
    const { aead, senderId, recipientId } = this;
    const keys = new Uint8Array(2 * aead.keyLength + aead.nonceLength);
    keys.set(this.#expand(senderId, idContext, "Key", aead.keyLength));
    keys.set(this.#expand(recipientId, idContext, "Key", aead.keyLength), aead.keyLength);
    keys.set(this.#expand(EMPTY, idContext, "IV", aead.nonceLength), 2 * aead.keyLength);
    return new SecurityContext(this, idContext?.slice(), keys, window);
  }

  #expand(
    id: Uint8Array,
    idContext: Uint8Array | undefined,
    type: "Key" | "IV",
    length: number,
  ): Uint8Array {
    const info = keyInfo(id, idContext, this.aead.id, type, length);
    return hkdfExpand(this.hkdf, this.prk, info, length);
  }
}

/**
 * Common, Sender and Recipient Context in one (RFC 8613 3.1). Keys lie in one array, and the replay window comes with
 * the first request: ten thousand idle contexts should cost little.
 */
export class SecurityContext {
  readonly aead: Aead;
  readonly #source: KeySource;
  readonly idContext: Uint8Array | undefined;
  /** Sender Key, Recipient Key, Common IV. */
  readonly #keys: Uint8Array;
  readonly #windowSize: number;
  #window: ReplayWindow | undefined;
  /** Sender Sequence Number: the next one to use. */
  sequence = 0;
  /** The first sequence number that must not be used, at most 2^40 (7.2.1). */
  bound: number = SEQUENCE_LIMIT;
  /** The highest bound ever handed to the store, written yet or not: no later write may name a lower one. */
  promised = 0;
  /** Messages encrypted and forgeries seen under these keys, for the limits of the AEAD. */
  encryptions = 0;
  forgeries = 0;
  /**
   * Partial IVs of the peer below this may have been accepted, as the store knows: none at or above it is accepted before the
   * store knows more. After a crash those are new. Undefined: the store knows nothing of it.
   */
  windowBound: number | undefined = undefined;
  /** The highest such bound ever handed to the store. */
  windowPromised = 0;
  /** How far it is raised beyond what is accepted, when it was last, and when something was. */
  windowStride = 0;
  windowSince: Instant = -Infinity;
  windowUsed: Instant = 0;
  /** The largest Partial IV of the peer that verified, -1 before the first: what is newer moves the session's path. */
  peerTop = -1;
  /**
   * Requests with a Partial IV below this may have been answered before the replay window was lost. A peer that was put back to an
   * old state sends them again, so their answers do not take their nonces (RFC 8613 8.3).
   */
  answeredBelow = 0;
  /** Since when another context has replaced this one. */
  retiredAt: Instant | undefined = undefined;

  constructor(
    source: KeySource,
    idContext: Uint8Array | undefined,
    keys: Uint8Array,
    windowSize: number = DEFAULT_WINDOW,
  ) {
    this.aead = source.aead;
    this.#source = source;
    this.idContext = idContext;
    this.#keys = keys;
    this.#windowSize = windowSize;
  }

  get senderId(): Uint8Array {
    return this.#source.senderId;
  }

  get recipientId(): Uint8Array {
    return this.#source.recipientId;
  }

  /** Whether `kid` is the Recipient ID. */
  isRecipient(kid: Uint8Array): boolean {
    return this.#source.isRecipient(kid);
  }

  /** A view: copy what must outlive the context. */
  get senderKey(): Uint8Array {
    return this.#keys.subarray(0, this.aead.keyLength);
  }

  get recipientKey(): Uint8Array {
    return this.#keys.subarray(this.aead.keyLength, 2 * this.aead.keyLength);
  }

  get commonIv(): Uint8Array {
    return this.#keys.subarray(2 * this.aead.keyLength);
  }

  /** Which Partial IVs of the peer's requests were accepted. */
  get window(): ReplayWindow {
    return (this.#window ??= new ReplayWindow(this.#windowSize));
  }

  /** The highest number accepted, -1 before the first. */
  get windowTop(): number {
    return this.#window?.top ?? -1;
  }

  /** Whether `piv` was neither accepted before nor is too old to tell. */
  fresh(piv: number): boolean {
    return this.#window?.fresh(piv) ?? true;
  }

  /** Whether the store must know more before `piv` of the peer is accepted. */
  outruns(piv: number): boolean {
    const { windowBound, windowPromised } = this;
    if (windowBound === undefined && windowPromised === 0) return false;
    return piv >= (windowBound ?? windowPromised);
  }

  /** Whether one more message may be encrypted under the Sender Key. */
  get worn(): boolean {
    return this.encryptions >= this.aead.maxEncryptions;
  }

  /**
   * `[len(ID)] [ID left-padded] [PIV left-padded to 5] XOR Common IV` (RFC 8613 5.2). `id` is the Sender ID of whoever
   * made the Partial IV.
   */
  nonce(id: Uint8Array, piv: Uint8Array): Uint8Array {
    const length = this.aead.nonceLength;
    const from = 2 * this.aead.keyLength;
    const keys = this.#keys;
    const nonce = new Uint8Array(length);
    for (let i = 0; i < length; i++) nonce[i] = keys[from + i]!; // the Common IV has this length
    nonce[0]! ^= id.length;
    const idAt = length - PIV_PART - id.length;
    for (let i = 0; i < id.length; i++) nonce[idAt + i]! ^= id[i]!; // within: see KeySource
    const pivAt = length - piv.length;
    for (let i = 0; i < piv.length; i++) nonce[pivAt + i]! ^= piv[i]!; // at most 5
    return nonce;
  }

  additionalData(requestKid: Uint8Array, requestPiv: Uint8Array): Uint8Array {
    return additionalData(this.aead.id, requestKid, requestPiv);
  }

  /** Encrypts under the Sender Key. The caller answers for the nonce. Throws UsageError for a plaintext too long. */
  encrypt(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    if (plaintext.length > this.aead.maxPlaintext)
      throw new UsageError(`${this.aead.name} takes at most ${this.aead.maxPlaintext} bytes`);
    this.encryptions += 1;
    return seal(this.aead, this.senderKey, nonce, aad, plaintext);
  }

  /** Decrypts under the Recipient Key; undefined for what the peer did not send. */
  decrypt(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    if (sealed.length - this.aead.tagLength > this.aead.maxPlaintext) return undefined;
    return open(this.aead, this.recipientKey, nonce, aad, sealed);
  }

  /** Marks a verified number of the peer; says whether it is the newest so far. */
  heard(piv: number): boolean {
    if (piv <= this.peerTop) return false;
    this.peerTop = piv;
    return true;
  }

  /** The next sequence number, undefined if there is none left: never one a second time. */
  takeSequence(): number | undefined {
    if (this.sequence >= this.bound) return undefined;
    return this.sequence++;
  }
}

/** One array for all who have this id, where ids are short: it would take more room than the rest of it. */
function shared(id: Uint8Array): Uint8Array {
  if (id.length === 0) return EMPTY;
  if (id.length > 1) return id.slice();
  return (ONE_BYTE[id[0]!] ??= id.slice()); // its length is 1
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

const ONE_BYTE: Uint8Array[] = [];
/** 2^40: Sender Sequence Numbers stay below (RFC 8613 7.2.1). */
export const SEQUENCE_LIMIT: number = 2 ** 40;
/** RFC 8613 3.2.2. */
export const DEFAULT_WINDOW = 32;
/** Bytes of the nonce for the Partial IV. */
const PIV_PART = 5;
/** Those and the length byte. */
const ID_OVERHEAD = PIV_PART + 1;
