export {
  AEADS,
  AES_CCM_16_64_128,
  aeadOf,
  hkdfOf,
  type Aead,
  type HkdfHash,
} from "./algorithms.ts";
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
