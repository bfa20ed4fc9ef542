export { type RequestProtection, type Stranger, type UnprotectedRequest } from "./protection.ts";
export {
  MAX_BLOCK_NUM,
  blockOffset,
  blockOption,
  blockSize,
  decodeBlock,
  encodeBlock,
  szxFor,
  type Block,
} from "./block-option.ts";
export { CoapNode, type CoapNodeInput, type CoapNodeOutput } from "./coap-node.ts";
export {
  Code,
  codeClass,
  codeName,
  formatCode,
  isRequest,
  isResponse,
  isSuccess,
  type CodeName,
} from "./codes.ts";
export { ContentFormat, mediaType } from "./content-format.ts";
export { DIAGNOSTIC_LIMIT, diagnostic } from "./diagnostic.ts";
export { Endpoint, type EndpointOptions } from "./endpoint.ts";
export type {
  EndpointInput,
  EndpointOutput,
  ExchangeId,
  RequestId,
  RequestName,
  TransportInput,
  TransportOutput,
} from "./endpoint-events.ts";
export {
  LinkFormatError,
  encodeLinks,
  filterLinks,
  formatLinks,
  linkAttribute,
  parseLinks,
  type Link,
  type LinkAttribute,
  type LinkFormatOptions,
} from "./link-format.ts";
export {
  ACK,
  CON,
  NON,
  RST,
  type Message,
  type MessageType,
  type Option,
  type Request,
  type Response,
} from "./message.ts";
export {
  MessageFormatError,
  decodeMessage,
  encodeMessage,
  type MessageFormatReason,
} from "./message-codec.ts";
export { NoResponse, suppresses } from "./no-response.ts";
export {
  OBSERVE_DEREGISTER,
  OBSERVE_REGISTER,
  findObserve,
  isNewer,
  observeOption,
} from "./observe-option.ts";
export { OptionNumber, isCritical, isNoCacheKey, isUnsafe } from "./option-numbers.ts";
export {
  OPTION_TABLE,
  checkOptions,
  optionName,
  optionSubset,
  type OptionDefinition,
  type OptionTable,
} from "./option-table.ts";
export { decodeBody, encodeBody, optionAt, scanBody, type Body } from "./options-codec.ts";
export {
  allStrings,
  findOption,
  findString,
  findUint,
  formatPath,
  locationPath,
  opaqueOption,
  parsePath,
  readUint,
  request,
  response,
  sortOptions,
  stringOption,
  uintBytes,
  uintOption,
  uriPath,
  uriQuery,
  withOption,
  withoutOption,
  type RequestParts,
  type ResponseParts,
} from "./options.ts";
export {
  coapTuning,
  exchangeLifetime,
  maxLatency,
  maxRtt,
  maxTransmitSpan,
  maxTransmitWait,
  nonLifetime,
  type CoapTuning,
} from "./tuning.ts";
export { UdpSessions, type UdpSessionsInput } from "./udp-sessions.ts";
export { ResourceTree, type Resource, type ResourceHandler } from "./well-known.ts";
