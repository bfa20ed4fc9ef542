import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { concat, equal, FormatError, toHex, UsageError, utf8 } from "@godwit/base";
import { writeFileAtomicSync } from "./atomic-file.ts";

/**
 * Seals secrets for the disk: AES-256-GCM under a key derived from the master key.
 *
 *   version 1 | key id 4 | nonce 12 | ciphertext | tag 16
 *
 * Nonces are random: stay under 2^32 seals with one key (NIST SP 800-38D 8.3), which no fleet comes near.
 */
export class MasterKey {
  /** Names the key without telling anything about it; hex. */
  readonly id: string;
  readonly #current: Sealer;
  readonly #sealers: readonly Sealer[];

  /** @param older  Keys that still open what was sealed before a change of keys. */
  constructor(key: Uint8Array, older: readonly Uint8Array[] = []) {
    this.#current = sealer(key);
    this.#sealers = [this.#current, ...older.map(sealer)];
    this.id = toHex(this.#current.id);
  }

  /** `context` says where the secret belongs ("psk/urn:dev:1"); sealed for one place it opens in no other. */
  seal(secret: Uint8Array, context: string): Uint8Array {
    const nonce = randomBytes(NONCE);
    const cipher = createCipheriv("aes-256-gcm", this.#current.key, nonce);
    cipher.setAAD(utf8(context));
    const head = concat(Uint8Array.of(VERSION), this.#current.id, nonce);
    return concat(head, cipher.update(secret), cipher.final(), cipher.getAuthTag());
  }

  /** Throws FormatError if this was not sealed by one of our keys for this context, or has been changed. */
  open(sealed: Uint8Array, context: string): Uint8Array {
    if (sealed.length < HEAD + TAG) throw new FormatError("sealed secret is too short");
    if (sealed[0] !== VERSION) throw new FormatError(`sealed secret of version ${sealed[0]}`);
    const id = sealed.subarray(1, 1 + ID);
    const found = this.#sealers.find((candidate) => equal(candidate.id, id));
    if (found === undefined) {
      throw new FormatError(`sealed with master key ${toHex(id)}, which is not at hand`);
    }
    const decipher = createDecipheriv("aes-256-gcm", found.key, sealed.subarray(1 + ID, HEAD), {
      authTagLength: TAG,
    });
    decipher.setAAD(utf8(context));
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG));
    try {
      return concat(decipher.update(sealed.subarray(HEAD, sealed.length - TAG)), decipher.final());
    } catch {
      throw new FormatError("sealed secret was changed, or belongs to another place");
    }
  }
}

/**
 * The master key of a file with 64 hex digits (or 32 raw bytes), made if there is none. The file is
 * `GODWIT_MASTER_KEY_FILE` where that is set, then it must exist: a fresh key in its place would only hide that
 * the real one is missing. `mayBeMade` false: something is sealed under it already, so none is made in its place.
 */
export function loadMasterKey(
  file: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
  mayBeMade = true,
): LoadedMasterKey {
  const named = environment["GODWIT_MASTER_KEY_FILE"];
  const path = named === undefined || named === "" ? file : named;
  let content: Uint8Array | undefined;
  try {
    content = readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || path === named) {
      throw new Error(`cannot read the master key ${path}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
  const created = content === undefined;
  if (created && !mayBeMade)
    throw new Error(
      `the master key ${path} is missing, and records are sealed under it: put it back, or name it by GODWIT_MASTER_KEY_FILE. Without it their credentials are lost, and the data directory must be moved away to begin anew`,
    );
  const key = content === undefined ? createKey(path) : parseKey(content, path);
  const exposed = process.platform !== "win32" && (statSync(path).mode & 0o077) !== 0;
  return { key: new MasterKey(key), file: path, created, exposed };
}

/** The master key in a file that must be there. Throws with what is wrong with it. */
export function readMasterKey(file: string): MasterKey {
  let content: Uint8Array;
  try {
    content = readFileSync(file);
  } catch (cause) {
    throw new Error(`cannot read the master key ${file}: ${(cause as Error).message}`, { cause });
  }
  return new MasterKey(parseKey(content, file));
}

/** The id of the master key that a secret was sealed with; undefined for what is no sealed secret. */
export function sealedWith(sealed: Uint8Array): string | undefined {
  if (sealed.length < HEAD + TAG || sealed[0] !== VERSION) return undefined;
  return toHex(sealed.subarray(1, 1 + ID));
}

export type LoadedMasterKey = {
  readonly key: MasterKey;
  readonly file: string;
  /** Made just now: tell the operator to keep a copy, the credentials are lost without it. */
  readonly created: boolean;
  /** Others than its owner may read the file. Worth a warning; mounted secrets often are so. */
  readonly exposed: boolean;
};

function createKey(path: string): Uint8Array {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const key = randomBytes(KEY);
  writeFileAtomicSync(path, `${key.toString("hex")}\n`);
  return key;
}

function parseKey(content: Uint8Array, path: string): Uint8Array {
  const text = Buffer.from(content).toString("latin1").trim();
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, "hex");
  if (content.length === KEY) return content;
  throw new Error(`${path} is no master key: 64 hex digits or 32 bytes are wanted`);
}

type Sealer = { readonly id: Uint8Array; readonly key: Uint8Array };

function sealer(master: Uint8Array): Sealer {
  if (master.length !== KEY) throw new UsageError(`a master key has ${KEY} bytes`);
  const derive = (label: string, length: number): Uint8Array =>
    new Uint8Array(hkdfSync("sha256", master, new Uint8Array(0), label, length));
  return { id: derive("godwit key id", ID), key: derive("godwit secrets at rest", KEY) };
}

const VERSION = 1;
const KEY = 32;
const ID = 4;
const NONCE = 12;
const TAG = 16;
const HEAD = 1 + ID + NONCE;
