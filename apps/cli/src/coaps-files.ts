import { UsageError } from "@godwit/base";
import {
  checkChain,
  judgeChain,
  leafOf,
  readCertificates,
  signingKey,
  type Certificate,
} from "@godwit/dtls";
import { readOption } from "./read-option.ts";

export type CoapsFiles = {
  readonly coaps?: string;
  readonly coapsKey?: string;
  readonly coapsCert?: string;
  readonly coapsCa?: string;
};

/** What `godwit serve` shows to devices and trusts of them, out of its files. */
export type CoapsMaterial = {
  /** Undefined: the server shows the key it made for itself. */
  readonly certificates: readonly Certificate[] | undefined;
  readonly anchors: readonly Uint8Array[];
  /** What may be as it is meant, or not. */
  readonly warnings: readonly string[];
};

/** @throws Error that names the option, the file, and what to do about it */
export function readCoapsFiles(files: CoapsFiles, wall: number): CoapsMaterial {
  const { coaps, coapsKey, coapsCert, coapsCa } = files;
  for (const [option, file] of [
    ["--coaps-key", coapsKey],
    ["--coaps-cert", coapsCert],
    ["--coaps-ca", coapsCa],
  ] as const) {
    if (file !== undefined && coaps === undefined)
      throw new UsageError(`${option} is for CoAP over DTLS: give --coaps, too`);
  }
  if (coapsCert !== undefined && coapsKey === undefined)
    throw new UsageError("--coaps-cert needs the key of that certificate: give --coaps-key, too");
  const warnings: string[] = [];
  const anchors =
    coapsCa === undefined
      ? []
      : readOption("--coaps-ca", coapsCa, (text) => readCertificates(text, "the file"));
  for (const one of anchors) {
    const { names, validFrom, validTo } = leafOf([one]);
    const name = JSON.stringify(names[0] ?? "");
    if (wall < validFrom.at)
      warnings.push(`--coaps-ca: ${name} is valid from ${validFrom.text} on`);
    if (wall > validTo.at) warnings.push(`--coaps-ca: ${name} expired on ${validTo.text}`);
  }
  if (coapsKey === undefined) return { certificates: undefined, anchors, warnings };
  const key = readOption("--coaps-key", coapsKey, (text) => signingKey(text, "the file"));
  const bare: Certificate = { kind: "rpk", key };
  if (coapsCert === undefined) return { certificates: [bare], anchors, warnings };
  const chain = readOption("--coaps-cert", coapsCert, (text) => {
    const read = readCertificates(text, "the file");
    checkChain(read, key, "the file");
    return read;
  });
  const rules = { anchors: chain.slice(-1), wall, purpose: "server" } as const;
  const verdict = judgeChain(chain, rules); // as a device sees it that trusts the last one
  if (!verdict.ok) warnings.push(`--coaps-cert ${coapsCert}: ${verdict.why}`);
  return { certificates: [{ kind: "x509", key, chain }, bare], anchors, warnings };
}
