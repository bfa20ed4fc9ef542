export {
  AEADS,
  AES_CCM_16_64_128,
  aeadOf,
  hkdfOf,
  type Aead,
  type HkdfHash,
} from "./algorithms.ts";
export { type ClientExchange, type ServerExchange } from "./association.ts";
export { decodeRecord, encodeRecord, type ContextRecord } from "./context-record.ts";
export {
  type Credential,
  type DeathReason,
  type DropReason,
  type OscoreInput,
  type OscoreOutput,
  type ProtectFailure,
  type ProtectedRequest,
  type ProtectedResponse,
  type RekeyReason,
  type ResponseOutcome,
  type UnprotectedRequest,
} from "./layer-events.ts";
export { OscoreLayer } from "./oscore-layer.ts";
export {
  decodeOscoreOption,
  decodePiv,
  encodeOscoreOption,
  encodePiv,
  type OscoreOption,
} from "./oscore-option.ts";
export {
  RequestBinding,
  oscoreOptionOf,
  protectRequest,
  protectResponse,
  unprotectRequest,
  unprotectResponse,
  type ResponseFault,
  type ResponseProtection,
  type UnprotectedResponse,
  type VerifiedRequest,
} from "./protection.ts";
export {
  DEFAULT_WINDOW,
  KeySource,
  SEQUENCE_LIMIT,
  SecurityContext,
  type InputParameters,
} from "./security-context.ts";
export { TABLE as OSCORE_TABLE } from "./sequence-keeper.ts";
export { oscoreTuning, type OscoreTuning } from "./tuning.ts";
