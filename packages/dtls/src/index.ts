export { DtlsClient, type DtlsClientInput, type DtlsClientOptions } from "./client.ts";
export { DtlsServer } from "./server.ts";
export type { DtlsServerInput, DtlsServerOptions } from "./server-options.ts";
export {
  type DtlsRestored,
  type DtlsStoredRow,
  type RefusedRow,
  type Vouch,
  cutNumber,
} from "./server-restore.ts";
export type {
  Certificate,
  ClientCredentials,
  Generation,
  Lookup,
  ServerCredentials,
  Verdict,
} from "./credentials.ts";
export { type SigningKey, makeKey } from "./crypto.ts";
export {
  checkChain,
  readCertificates,
  readPublicKey,
  signingKey,
  type Material,
} from "./key-material.ts";
export { type DtlsInput, type DtlsOutput, type Sealer, TABLES } from "./events.ts";
export { Alert } from "./codes.ts";
export type { CertificateMessage } from "./handshake/certificate.ts";
export { selfSigned } from "./self-signed.ts";
export { SUITES, type CipherSpec, type KeyExchange, type Suite, suiteOf } from "./suites.ts";
export { CONSTRAINED, DEFAULT_TUNING, type DtlsTuning } from "./tuning.ts";
export {
  type CertificateUsage,
  type ChainRules,
  type Leaf,
  judgeChain,
  judgeServer,
  leafOf,
} from "./certificates.ts";
export { dissect, type Dissected, type SeenDatagram } from "./dissect.ts";
