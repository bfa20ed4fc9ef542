export { compare, strategyNames } from "./compare/compare.ts";
export type {
  NamedDatagram,
  Row,
  Settings,
  Step,
  Strategy,
  StrategyName,
  Upkeep,
} from "./compare/row.ts";
export { comparisonTable } from "./compare/table.ts";
export { DemoFleet } from "./live/demo-fleet.ts";
export { LiveNetwork, type LiveNetworkOptions, type MappingState } from "./live/live-network.ts";
export type { PaceOptions } from "./live/pace.ts";
