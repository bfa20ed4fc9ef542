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
