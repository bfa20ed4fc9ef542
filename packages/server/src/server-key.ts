import { FormatError, type Rng } from "@godwit/base";
import { makeKey, selfSigned, signingKey, type Certificate } from "@godwit/dtls";
import type { Store } from "@godwit/io";
import type { CredentialSealer } from "@godwit/lwm2m";

/**
 * What a server shows that was given nothing to show: a key that it made for itself, bare and in a certificate of its own
 * making, for devices to pin. Made at the first call, kept sealed in the store, and the same ever after. Rejects where the
 * store refuses it, or has one that the master key at hand does not open.
 */
export async function ownCertificates(
  store: Store,
  sealer: CredentialSealer,
  rng: Rng,
): Promise<readonly Certificate[]> {
  const kept = new Map([...store.load(SERVER_KEY_TABLE)].map(({ key, value }) => [key, value]));
  const open = (name: string): Uint8Array | undefined => {
    const sealed = kept.get(name);
    return sealed && opened(sealed, sealer, name);
  };
  const bytes = open(KEY) ?? makeKey(rng);
  const key = signingKey(bytes);
  const certificate = open(CERTIFICATE) ?? selfSigned(key, NAME, rng);
  const changes = [
    { key: KEY, bytes },
    { key: CERTIFICATE, bytes: certificate },
  ]
    .filter((one) => !kept.has(one.key))
    .map((one) => ({
      table: SERVER_KEY_TABLE,
      key: one.key,
      value: sealer.seal(one.bytes, serverKeyContext(one.key)),
    }));
  await new Promise<void>((resolve, reject) => {
    if (changes.length === 0) return resolve();
    store.write(changes, (fault) => (fault === undefined ? resolve() : reject(fault)));
  });
  return [
    { kind: "x509", key, chain: [certificate] },
    { kind: "rpk", key },
  ];
}

function opened(sealed: Uint8Array, sealer: CredentialSealer, name: string): Uint8Array {
  try {
    return sealer.open(sealed, serverKeyContext(name));
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    throw new Error(
      `the server's own key cannot be read (${cause.message}): put the master key back that it was made under, or give the server a key`,
      { cause },
    );
  }
}

/** Where its parts are sealed for. */
export function serverKeyContext(name: string): string {
  return `server-key/${name}`;
}

export const SERVER_KEY_TABLE = "serverKey";
const KEY = "p256";
const CERTIFICATE = "certificate";
/** The common name of the certificate. */
const NAME = "godwit";
