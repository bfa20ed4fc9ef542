// Fixed contexts of OSCORE whose credential is gone. Nobody keeps their sequence numbers: used again, a context would count
// from 0 and use each nonce twice (RFC 8613 7.2.1).

import { FormatError, Writer, sha256, toHex, utf8, type StoreChange } from "@godwit/base";
import type { CredentialSealer } from "./credential-book.ts";
import { credentialId } from "./credential.ts";
import type { StoredRecord } from "./events.ts";
import type { OscoreCredential } from "./protected-sessions.ts";

/** Knows them by digests, which are stored sealed. */
export class UsedContexts {
  /** The key of its row, by digest. */
  readonly #rows = new Map<string, string>();
  readonly #sealer: CredentialSealer;
  readonly #limit: number;
  #last = 0;

  /** `limit`: digests it keeps; the oldest give way. */
  constructor(sealer: CredentialSealer, limit: number) {
    this.#sealer = sealer;
    this.#limit = limit;
  }

  /** One record of the store; records come in any order. @throws FormatError where it cannot be read */
  restore({ key, value }: StoredRecord): void {
    const digest = this.#sealer.open(value, placeOf(key));
    if (digest.length !== DIGEST || !/^[0-9]{1,15}$/.test(key))
      throw new FormatError("no digest of a used context");
    this.#last = Math.max(this.#last, Number(key));
    this.#rows.set(toHex(digest), key);
  }

  /** Whether a key of the credential's fixed context, in either direction, was in use. */
  has(credential: OscoreCredential): boolean {
    return this.#rows.size > 0 && digestsOf(credential).some((one) => this.#rows.has(toHex(one)));
  }

  /** Whether a credential with its id went that nobody could read: its secret may have been the same. */
  mayHave(credential: OscoreCredential): boolean {
    return this.#rows.has(toHex(digestOfId(credentialId(credential))));
  }

  /** Noting that the credential goes; its id, where it cannot be read. Nothing has changed until `take`. */
  noting(credential: OscoreCredential | string): {
    readonly rows: readonly StoreChange[];
    readonly take: () => void;
  } {
    const digests =
      typeof credential === "string" ? [digestOfId(credential)] : digestsOf(credential);
    const fresh = digests.filter((one) => !this.#rows.has(toHex(one)));
    const noted = fresh.map((digest) => ({
      digest,
      key: String(++this.#last).padStart(WIDTH, "0"),
    }));
    const excess = Math.max(0, this.#rows.size + noted.length - this.#limit);
    const oldest = [...this.#rows].toSorted(([, a], [, b]) => (a < b ? -1 : 1)).slice(0, excess);
    return {
      rows: [
        ...oldest.map(([, key]) => ({ table: USED_TABLE, key, value: undefined })),
        ...noted.map(({ digest, key }) => {
          return { table: USED_TABLE, key, value: this.#sealer.seal(digest, placeOf(key)) };
        }),
      ],
      take: () => {
        for (const [digest] of oldest) this.#rows.delete(digest);
        for (const { digest, key } of noted) this.#rows.set(toHex(digest), key);
      },
    };
  }
}

/** Whether messages of a credential may go under its fixed context. */
export function mayUseFixedContext({ derivation }: OscoreCredential): boolean {
  return derivation !== "negotiated";
}

/** Whether the fixed contexts of both have a key in common. */
export function shareFixedContext(one: OscoreCredential, other: OscoreCredential): boolean {
  const digests = new Set(digestsOf(one).map((digest) => toHex(digest)));
  return digestsOf(other).some((digest) => digests.has(toHex(digest)));
}

/** One for each direction: what RFC 8613 3.2.1 derives a Sender Key and the Common IV from. */
function digestsOf(credential: OscoreCredential): readonly Uint8Array[] {
  const { senderId, recipientId, masterSecret, masterSalt, idContext, aead, hkdf } = credential;
  const w = new Writer(160);
  for (const part of [masterSecret, masterSalt, idContext]) {
    w.u8(part === undefined ? 0 : 1);
    w.prefixed(2, (inner) => inner.append(part ?? EMPTY));
  }
  w.u32(aead ?? DEFAULT_AEAD).append(utf8(hkdf ?? "sha256"));
  const common = w.bytes();
  const ids = [senderId, recipientId].map((id) => new Writer(8).u8(id.length).append(id).bytes());
  return ids.map((id) => sha256(common, id));
}

function digestOfId(id: string): Uint8Array {
  return sha256(utf8(`id ${id}`));
}

function placeOf(key: string): string {
  return `used-context/${key}`;
}

export const USED_TABLE = "usedContext";
const EMPTY = new Uint8Array(0);
const DIGEST = 32;
/** Digits of a key, so that text order is the order of time. */
const WIDTH = 12;
/** AES-CCM-16-64-128. */
const DEFAULT_AEAD = 10;
