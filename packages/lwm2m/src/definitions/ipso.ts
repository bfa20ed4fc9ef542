import type { Row } from "../definition.ts";

/** Reusable resources that most IPSO sensor objects share, with the shape they have there. */
export const SENSOR_VALUE: Row = [5700, "Sensor Value", "R", "SM", "float"];
export const MIN_MEASURED: Row = [5601, "Min Measured Value", "R", "SO", "float"];
export const MAX_MEASURED: Row = [5602, "Max Measured Value", "R", "SO", "float"];
export const MIN_RANGE: Row = [5603, "Min Range Value", "R", "SO", "float"];
export const MAX_RANGE: Row = [5604, "Max Range Value", "R", "SO", "float"];
export const SENSOR_UNITS: Row = [5701, "Sensor Units", "R", "SO", "string"];
export const RESET_MIN_MAX: Row = [5605, "Reset Min and Max Measured Values", "E", "SO", "none"];
export const APPLICATION_TYPE: Row = [5750, "Application Type", "RW", "SO", "string"];
export const TIMESTAMP: Row = [5518, "Timestamp", "R", "SO", "time"];
export const FRACTIONAL_TIMESTAMP: Row = [
  6050,
  "Fractional Timestamp",
  "R",
  "SO",
  "float",
  { range: { from: 0, to: 1 }, units: "s" },
];
export const QUALITY_INDICATOR: Row = [
  6042,
  "Measurement Quality Indicator",
  "R",
  "SO",
  "integer",
  { range: { from: 0, to: 23 } },
];
export const QUALITY_LEVEL: Row = [
  6049,
  "Measurement Quality Level",
  "R",
  "SO",
  "integer",
  { range: { from: 0, to: 100 } },
];
