import { UsageError } from "@godwit/base";
import { parseOscore, psk, rpk, x509, type DtlsSecurity, type Security } from "@godwit/client";
import { readPublicKey, signingKey } from "@godwit/dtls";
import { Option } from "commander";
import { readOption } from "./read-option.ts";

/** By what `godwit device` proves who it is. */
export type SecurityOptions = {
  readonly server: string;
  readonly oscore?: string;
  readonly pskIdentity?: string;
  readonly pskKey?: string;
  readonly rpkKey?: string;
  readonly serverPublicKey?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly serverCert?: string;
  readonly ca?: string;
  readonly certificateUsage?: "0" | "1" | "2" | "3";
  readonly serverName?: string;
};

export function securityOptions(): readonly Option[] {
  return [
    new Option(
      "--oscore <file>",
      'protects all by OSCORE, on coap:// alone, on coaps:// inside DTLS: JSON such as {"senderId":"01","recipientId":"02","masterSecret":"0001…"}, ids as the device has them, bytes in hex; also masterSalt, idContext, aead, hkdf, derivation (negotiated, fixed, both)',
    ),
    new Option("--psk-identity <text>", "pre-shared key: the identity; for coaps://"),
    new Option("--psk-key <hex>", "pre-shared key: the key").env("GODWIT_PSK_KEY"),
    new Option("--rpk-key <file>", "raw public key: the device's private key, P-256 in PEM"),
    new Option(
      "--server-public-key <file>",
      "the server's public key, as `godwit credentials server-key` prints it",
    ),
    new Option("--cert <file>", "X.509: the device's certificate and its issuers behind it, PEM"),
    new Option("--key <file>", "X.509: the key of that certificate, P-256 in PEM"),
    new Option("--ca <file>", "X.509: roots that the server's certificate must lead to, PEM"),
    new Option("--server-cert <file>", "X.509: the certificate that --certificate-usage is about"),
    new Option(
      "--certificate-usage <number>",
      "3: the server shows --server-cert itself (the default with one); 2: that is the one root; 1: as 3 and leads to --ca; 0: a CA on the way to --ca",
    ).choices(["0", "1", "2", "3"]),
    new Option(
      "--server-name <name>",
      "X.509: the name that the server's certificate is for; that of --server unless given",
    ),
  ];
}

/** @throws Error that names the option, and what to do about it */
export function securityOf(options: SecurityOptions): Security | undefined {
  const { oscore: file } = options;
  if (file === undefined) return dtlsOf(options);
  const inside = options.server.startsWith("coaps:") ? dtlsOf(options, OSCORE_ALONE) : undefined;
  const stray = GIVEN.find((name) => options[name] !== undefined);
  if (inside === undefined && stray !== undefined)
    throw new UsageError(`--oscore goes with ${flag(stray)} on coaps:// only`);
  const alone = readOption("--oscore", file, (text) => parseOscore(json(text)));
  return inside === undefined ? alone : { ...alone, inside };
}

/** `missing`: what is said where coaps:// has none of them. */
function dtlsOf(options: SecurityOptions, missing = NO_KEY): DtlsSecurity | undefined {
  const used = WAYS.filter(({ by }) => by.some((name) => options[name] !== undefined));
  const [way] = used;
  if (used.length > 1) {
    const named = used.map(({ by }) => flag(by.find((name) => options[name] !== undefined)!)); // some is
    throw new UsageError(`${named.join(" and ")} exclude each other: a device has one credential`);
  }
  if (way === undefined) {
    const stray = [...SERVER].find((name) => options[name] !== undefined);
    if (stray !== undefined)
      throw new UsageError(
        `${flag(stray)} is nothing by itself: give --rpk-key, or --cert and --key`,
      );
    if (options.server.startsWith("coaps:")) throw new UsageError(missing);
    return undefined;
  }
  for (const name of [...SERVER].filter((one) => !way.server.includes(one))) {
    if (options[name] === undefined) continue;
    throw new UsageError(`${flag(name)} does not go with ${flag(way.by[0])}`);
  }
  return way.read(options);
}

type Name = Exclude<keyof SecurityOptions, "server">;

type Way = {
  readonly by: readonly [Name, ...Name[]];
  /** Which of the options about the server go with it. */
  readonly server: readonly Name[];
  readonly read: (options: SecurityOptions) => DtlsSecurity;
};

const SERVER: ReadonlySet<Name> = new Set([
  "serverPublicKey",
  "serverCert",
  "ca",
  "certificateUsage",
  "serverName",
]);

const WAYS: readonly Way[] = [
  {
    by: ["pskIdentity", "pskKey"],
    server: [],
    read({ pskIdentity, pskKey }) {
      if (pskIdentity === undefined || pskKey === undefined)
        throw new UsageError("a pre-shared key needs both --psk-identity and --psk-key");
      return inWords(() => psk(pskIdentity, pskKey));
    },
  },
  {
    by: ["rpkKey"],
    server: ["serverPublicKey"],
    read({ rpkKey = "", serverPublicKey }) {
      if (serverPublicKey === undefined)
        throw new UsageError(
          "--rpk-key needs the server's public key: give --server-public-key, as `godwit credentials server-key` prints it",
        );
      const key = readOption("--rpk-key", rpkKey, checkedKey);
      const known = readOption("--server-public-key", serverPublicKey, checkedPublicKey);
      return inWords(() => rpk({ key, serverPublicKey: known }));
    },
  },
  {
    by: ["cert", "key"],
    server: [...SERVER],
    read: readX509,
  },
];

/** Options of DTLS. */
const GIVEN: readonly Name[] = [...new Set(WAYS.flatMap(({ by, server }) => [...by, ...server]))];
const KEYS =
  "--psk-identity and --psk-key, or --rpk-key and --server-public-key, or --cert and --key";
const NO_KEY = `coaps:// needs a key: give ${KEYS}`;
const OSCORE_ALONE = `OSCORE inside coaps:// needs a key for that: give ${KEYS}; or write coap://`;

function readX509(options: SecurityOptions): DtlsSecurity {
  const { cert, key, ca, serverCert, serverPublicKey, certificateUsage, serverName } = options;
  if (cert === undefined || key === undefined)
    throw new UsageError("a certificate needs its key: give both --cert and --key");
  const read = (option: string, file: string | undefined): string | undefined =>
    file === undefined ? undefined : readOption(option, file, (text) => text);
  const usage =
    certificateUsage === undefined ? undefined : (Number(certificateUsage) as 0 | 1 | 2 | 3);
  const parts = {
    ca: read("--ca", ca),
    serverCertificate: read("--server-cert", serverCert),
    serverPublicKey: read("--server-public-key", serverPublicKey),
    usage,
    serverName,
  };
  const given = Object.fromEntries(
    Object.entries(parts).filter(([, value]) => value !== undefined),
  );
  return inWords(() =>
    x509({ certificate: read("--cert", cert) ?? "", key: read("--key", key) ?? "", ...given }),
  );
}

/** The SDK's words, with its fields by the names that its user knows here. */
function inWords(make: () => DtlsSecurity): DtlsSecurity {
  try {
    return make();
  } catch (fault) {
    if (!(fault instanceof UsageError)) throw fault;
    const words = FIELDS.reduce(
      (text, [field, option]) => text.replaceAll(field, option),
      fault.message,
    );
    throw new UsageError(words);
  }
}

const FIELDS: readonly (readonly [RegExp, string])[] = [
  [/^a PSK identity\b/g, "--psk-identity"],
  [/^a PSK\b/g, "--psk-key"],
  [/\bserverCertificate\b/g, "--server-cert"],
  [/\bserverPublicKey\b/g, "--server-public-key"],
  [/\busage (?=\d)/g, "--certificate-usage "],
  [/\bca\b/g, "--ca"],
  [/^the certificate\b/g, "--cert"],
  [/^the key\b/g, "--key"],
];

/** Looks at a key where its file and option are known. */
function checkedKey(text: string): string {
  signingKey(text, "the file");
  return text;
}

function checkedPublicKey(text: string): string {
  readPublicKey(text, "the file");
  return text;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new UsageError("it is no JSON", "USAGE", { cause });
  }
}

function flag(name: Name): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** The options without a pre-shared key that stands in the environment for another device than this one. */
export function withoutStrayKey<T extends SecurityOptions>(options: T): T {
  const { pskIdentity, oscore, rpkKey, cert, key } = options;
  const others = [oscore, rpkKey, cert, key].some((one) => one !== undefined);
  return pskIdentity === undefined && others ? { ...options, pskKey: undefined } : options;
}
