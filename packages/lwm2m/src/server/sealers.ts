import { FormatError, UsageError } from "@godwit/base";
import type { Sealer } from "@godwit/dtls";
import type { CredentialSealer } from "./credential-book.ts";

/** What DTLS keeps, sealed under the same key for a place of its own. */
export function dtlsSealer(sealer: CredentialSealer): Sealer {
  return {
    seal: (plain) => sealer.seal(plain, DTLS_CONTEXT),
    open: (sealed) => {
      try {
        return sealer.open(sealed, DTLS_CONTEXT);
      } catch (fault) {
        if (!(fault instanceof FormatError)) throw fault;
        return undefined;
      }
    },
  };
}

/** Of a server without a master key. */
export const NO_SEALER: CredentialSealer = {
  seal: () => {
    throw new UsageError("there is no master key to keep credentials under");
  },
  open: () => {
    throw new FormatError("there is no master key to open it with");
  },
};
const DTLS_CONTEXT = "dtls";
