import { UsageError } from "@godwit/base";
import { checkCredential, type Credential } from "@godwit/lwm2m";
import { parseCredential } from "@godwit/platform";

/** The credentials in a file of `godwit serve --credentials`. @throws Error that names the one that is wrong */
export function readCredentials(text: string): readonly Credential[] {
  let all: unknown;
  try {
    all = JSON.parse(text);
  } catch (cause) {
    throw new Error("it is no JSON", { cause });
  }
  if (!Array.isArray(all)) throw new Error("it is no array: put the credentials between [ and ]");
  return all.map((one: unknown, index) => {
    try {
      const credential = parseCredential(one);
      checkCredential(credential);
      return credential;
    } catch (cause) {
      if (!(cause instanceof UsageError)) throw cause;
      const { endpoint } = (one ?? {}) as { readonly endpoint?: unknown };
      const whose = typeof endpoint === "string" ? `, of ${JSON.stringify(endpoint)}` : "";
      throw new Error(`credential ${index + 1}${whose}: ${cause.message}`, { cause });
    }
  });
}
