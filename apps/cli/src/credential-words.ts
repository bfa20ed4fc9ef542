import { readFileSync } from "node:fs";
import { UsageError } from "@godwit/base";
import { readCertificates, readPublicKey } from "@godwit/dtls";
import { readOption } from "./read-option.ts";
import { systemWords } from "./system-words.ts";

/** How `godwit credentials add` is told of one: a JSON file, or an endpoint and what it proves itself by. */
export type CredentialWords = {
  readonly endpoint?: string;
  readonly publicKey?: string;
  readonly certificate?: string;
  readonly fingerprint?: string;
  readonly name?: string;
};

/** The body for the REST API. @throws Error that names the option, the file, and what to do about it */
export function credentialBody(file: string | undefined, words: CredentialWords): unknown {
  const { endpoint, publicKey, certificate, fingerprint, name } = words;
  const given = Object.entries({ publicKey, certificate, fingerprint, name })
    .filter(([, value]) => value !== undefined)
    .map(([option]) => `--${option.replace("publicKey", "public-key")}`);
  if (file !== undefined) {
    const stray = endpoint === undefined ? given[0] : "--endpoint";
    if (stray !== undefined)
      throw new UsageError(`${stray} and a file exclude each other: the file says all`);
    return parse(textOf(file), file);
  }
  if (endpoint === undefined)
    throw new UsageError(
      "give a JSON file (- for standard input), or --endpoint and what it is known by",
    );
  const what = "--public-key, --certificate, --fingerprint or --name";
  if (given.length === 0)
    throw new UsageError(`--endpoint ${endpoint} is known by what? Give ${what}`);
  if (given.length > 1)
    throw new UsageError(`${given.join(" and ")} exclude each other: add two credentials`);
  if (publicKey !== undefined) {
    const read = (text: string): string => {
      readPublicKey(text, "the file");
      return text;
    };
    return { kind: "rpk", endpoint, publicKey: readOption("--public-key", publicKey, read) };
  }
  const kind = "x509";
  if (certificate === undefined) {
    return { kind, endpoint, ...(name === undefined ? { fingerprint } : { name }) };
  }
  const read = (text: string): string => {
    readCertificates(text, "the file");
    return text;
  };
  return { kind, endpoint, certificate: readOption("--certificate", certificate, read) };
}

function textOf(file: string): string {
  try {
    return readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (cause) {
    throw new Error(`${file === "" ? '""' : file}: ${systemWords(cause)}`, { cause });
  }
}

function parse(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const what = file === "-" ? "what came by standard input" : file;
    throw new Error(`${what} is no JSON`, { cause });
  }
}
