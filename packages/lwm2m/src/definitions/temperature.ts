import { resources, type ObjectDefinition } from "../definition.ts";
import {
  APPLICATION_TYPE,
  FRACTIONAL_TIMESTAMP,
  MAX_MEASURED,
  MAX_RANGE,
  MIN_MEASURED,
  MIN_RANGE,
  QUALITY_INDICATOR,
  QUALITY_LEVEL,
  RESET_MIN_MAX,
  SENSOR_UNITS,
  SENSOR_VALUE,
  TIMESTAMP,
} from "./ipso.ts";

/** 3303, IPSO temperature sensor. */
export const TEMPERATURE: ObjectDefinition = {
  id: 3303,
  name: "Temperature",
  version: "1.1",
  multiple: true,
  mandatory: false,
  hidden: false,
  resources: resources([
    SENSOR_VALUE,
    MIN_MEASURED,
    MAX_MEASURED,
    MIN_RANGE,
    MAX_RANGE,
    SENSOR_UNITS,
    RESET_MIN_MAX,
    APPLICATION_TYPE,
    TIMESTAMP,
    FRACTIONAL_TIMESTAMP,
    QUALITY_INDICATOR,
    QUALITY_LEVEL,
  ]),
};

/** 3303 in version 1.0: the measurements alone. */
export const TEMPERATURE_1_0: ObjectDefinition = {
  ...TEMPERATURE,
  version: "1.0",
  resources: TEMPERATURE.resources.filter(({ id }) => id <= 5701 && id !== 5518),
};
