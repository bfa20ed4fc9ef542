import { resources, type ObjectDefinition, type Row } from "../definition.ts";

/** /5: firmware update (OMA TS Core E.6). */
export const FIRMWARE: ObjectDefinition = {
  id: 5,
  name: "Firmware Update",
  version: "1.2",
  multiple: false,
  mandatory: false,
  hidden: false,
  resources: resources(rows()),
};

/** /5 in version 1.1. */
export const FIRMWARE_1_1: ObjectDefinition = {
  ...FIRMWARE,
  version: "1.1",
  resources: FIRMWARE.resources.filter(({ id }) => id <= 13),
};

/** /5 in version 1.0: neither cancelling nor deferring, so results end at 9. */
export const FIRMWARE_1_0: ObjectDefinition = {
  ...FIRMWARE,
  version: "1.0",
  resources: FIRMWARE.resources
    .filter(({ id }) => id <= 9)
    .map((resource) => (resource.id === 5 ? { ...resource, range: { from: 0, to: 9 } } : resource)),
};

function rows(): readonly Row[] {
  return [
    [0, "Package", "W", "SM", "opaque"],
    [1, "Package URI", "RW", "SM", "string", { range: { from: 0, to: 255 } }],
    [2, "Update", "E", "SM", "none"],
    [3, "State", "R", "SM", "integer", { range: { from: 0, to: 3 } }],
    [5, "Update Result", "R", "SM", "integer", { range: { from: 0, to: 11 } }],
    [6, "PkgName", "R", "SO", "string", { range: { from: 0, to: 255 } }],
    [7, "PkgVersion", "R", "SO", "string", { range: { from: 0, to: 255 } }],
    [8, "Firmware Update Protocol Support", "R", "MO", "integer", { range: { from: 0, to: 5 } }],
    [9, "Firmware Update Delivery Method", "R", "SM", "integer", { range: { from: 0, to: 2 } }],
    [10, "Cancel", "E", "SO", "none"],
    [11, "Severity", "RW", "SO", "integer", { range: { from: 0, to: 2 } }],
    [12, "Last State Change Time", "R", "SO", "time"],
    [13, "Maximum Defer Period", "RW", "SO", "unsigned", { units: "s" }],
    [14, "Automatic Upgrade at Download", "RW", "SO", "boolean"],
  ];
}
