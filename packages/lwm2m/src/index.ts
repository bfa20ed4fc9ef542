export {
  type ProtectionInput,
  type ProtectionLayer,
  type ProtectionOutput,
} from "./protection-layer.ts";
export type { Quarantined, QuarantineView } from "./server/quarantine.ts";
export { FIRST_PROTECTED_SESSION } from "./server/numbers.ts";
export { type OscoreCredential, type ServerProtection } from "./server/protected-sessions.ts";
export { decodeNodes, encodeNodes, valueFormat, type ValueFormat } from "./value-format.ts";
export {
  Registry,
  impliedVersion,
  resources,
  type Definitions,
  type ObjectDefinition,
  type Operations,
  type ResourceDefinition,
  type Row,
} from "./definition.ts";
export { BUILT_IN, builtInRegistry } from "./definitions/index.ts";
export {
  ROOT,
  UNASSIGNED,
  comparePaths,
  formatNodePath,
  givenPath,
  isWithin,
  nodePath,
  parseNodePath,
  parseRoot,
  pathOfSegments,
  samePath,
  segmentsOfPath,
  withoutRoot,
  type NodePath,
} from "./node-path.ts";
export { formatValue, parseValue } from "./text.ts";
export {
  inRange,
  numeric,
  plainRule,
  sameValue,
  valueOf,
  type ObjectLink,
  type Plain,
  type Range,
  type Value,
  type ValueNode,
  type ValueType,
  type Whole,
} from "./value.ts";
export { LWM2M_VERSIONS, atLeast, isLwm2mVersion, type Lwm2mVersion } from "./version.ts";
export {
  applyAttributes,
  attributeLinks,
  checkConsistent,
  checkLevel,
  effectiveAttributes,
  formatAttributes,
  parseAttributes,
  type AttributeChange,
  type AttributeName,
  type Attributes,
} from "./attributes.ts";
export { formatBinding, parseBinding, type Binding } from "./binding.ts";
export {
  formatObjectList,
  objectVersions,
  parseObjectList,
  sameObjectList,
  type ObjectEntry,
  type ObjectList,
} from "./object-list.ts";
export { refused, type Refusal, type RefusalReason } from "./refusal.ts";
export {
  DEFAULT_LIFETIME,
  MAX_LIFETIME,
  REGISTRATION_PATH,
  endpointFault,
  formatDeregister,
  formatRegister,
  formatUpdate,
  parseRegister,
  parseUpdate,
  type ParsedRegister,
  type ParsedUpdate,
  type RegisterParts,
  type RegisterRules,
  type Registration,
  type RegistrationUpdate,
} from "./registration.ts";
export type {
  OperationKind,
  ServerEvent,
  ServerInput,
  ServerOutput,
  StoredRecord,
} from "./server/events.ts";
export type { ObservationView } from "./server/observation-view.ts";
export {
  isFinal,
  isIdempotent,
  type OperationState,
  type OperationView,
} from "./server/operation.ts";
export type { Reachability, RegistrationView } from "./server/registration.ts";
export {
  createRequest,
  deleteRequest,
  discoverRequest,
  executeRequest,
  nodesOf,
  observeRequest,
  readRequest,
  valuesIn,
  writeAttributesRequest,
  writeRequest,
} from "./server/requests.ts";
export type { ServerSurroundings } from "./server/core.ts";
export { Lwm2mServer } from "./server/server.ts";
export { serverTuning, type ServerTuning } from "./server/tuning.ts";
export {
  ServerStack,
  type DroppedFrom,
  type ServerStackInput,
  type ServerStackOptions,
  type ServerStackOutput,
} from "./server-stack.ts";
export {
  ClientStack,
  type ClientStackInput,
  type ClientStackOptions,
  type ClientStackOutput,
} from "./client-stack.ts";
export { Lwm2mClient } from "./client/client.ts";
export type { ClientOptions } from "./client/options.ts";
export type {
  ClientEvent,
  ClientInput,
  ClientOutput,
  Operation,
  Outcome,
  PerformId,
} from "./client/events.ts";
export type { BindingKnowledge, KeepAliveStrategy } from "./client/keep-alive.ts";
export type { ClientSnapshot } from "./client/snapshot.ts";
export { SHORTEST_KEEP_ALIVE, clientTuning, type ClientTuning } from "./client/tuning.ts";
export {
  CREDENTIAL_TABLE,
  CredentialBook,
  type CredentialSealer,
} from "./server/credential-book.ts";
export {
  checkCredential,
  credentialId,
  credentialIdOf,
  identityOf,
  viewCredential,
  type Credential,
  type CredentialView,
} from "./server/credential.ts";
export type { ServerDtlsOptions } from "./server/peers.ts";
export type {
  CertificateLookup,
  ClientDtlsOptions,
  DtlsRow,
  LadderTuning,
} from "./client-transport.ts";
export { TABLES as DTLS_TABLES } from "@godwit/dtls";
