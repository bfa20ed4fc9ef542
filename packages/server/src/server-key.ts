import { FormatError, type Rng } from "@godwit/base";
import { makeKey, signingKey, type SigningKey } from "@godwit/dtls";
import type { Store } from "@godwit/io";
import type { CredentialSealer } from "@godwit/lwm2m";

/**
 * The key that a server made for itself, by which devices know it: made at the first call, kept sealed in the store, and the
 * same ever after. Rejects where the store refuses it, or has one that the master key at hand does not open.
 */
export async function ownKey(
  store: Store,
  sealer: CredentialSealer,
  rng: Rng,
): Promise<SigningKey> {
  for (const { key, value } of store.load(TABLE)) {
    if (key === KEY) return openKey(value, sealer);
  }
  const made = makeKey(rng);
  const value = sealer.seal(made, CONTEXT);
  await new Promise<void>((resolve, reject) => {
    store.write([{ table: TABLE, key: KEY, value }], (fault) => {
      if (fault === undefined) resolve();
      else reject(fault);
    });
  });
  return signingKey(made);
}

function openKey(sealed: Uint8Array, sealer: CredentialSealer): SigningKey {
  try {
    return signingKey(sealer.open(sealed, CONTEXT));
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    throw new Error(
      `the server's own key cannot be read (${cause.message}): put the master key back that it was made under, or give the server a key`,
      { cause },
    );
  }
}

const TABLE = "serverKey";
const KEY = "p256";
const CONTEXT = "server-key";
