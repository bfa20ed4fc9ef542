export {
  ContentFormat,
  decodeNodes,
  encodeNodes,
  valueFormat,
  type ValueFormat,
} from "./content-format.ts";
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
