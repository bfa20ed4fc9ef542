import { resources, type ObjectDefinition, type Row } from "../definition.ts";

/** /3: the device as a whole (OMA TS Core E.4). */
export const DEVICE: ObjectDefinition = {
  id: 3,
  name: "Device",
  version: "1.2",
  multiple: false,
  mandatory: true,
  hidden: false,
  resources: resources(rows()),
};

/** /3 in version 1.1: error codes 9-32 were not defined, the battery level was in per cent. */
export const DEVICE_1_1: ObjectDefinition = {
  ...DEVICE,
  version: "1.1",
  resources: DEVICE.resources.map((resource) => {
    if (resource.id === 9) return { ...resource, units: "%" };
    return resource.id === 11 ? { ...resource, range: { from: 0, to: 8 } } : resource;
  }),
};

const UNITS_1_0: Readonly<Record<number, string>> = { 7: "mV", 8: "mA", 10: "KB" };

/** /3 in version 1.0: units stood in the definition. */
export const DEVICE_1_0: ObjectDefinition = {
  ...DEVICE_1_1,
  version: "1.0",
  resources: DEVICE_1_1.resources.map((resource) => {
    const units = UNITS_1_0[resource.id];
    return units === undefined ? resource : { ...resource, units };
  }),
};

function rows(): readonly Row[] {
  return [
    [0, "Manufacturer", "R", "SO", "string"],
    [1, "Model Number", "R", "SO", "string"],
    [2, "Serial Number", "R", "SO", "string"],
    [3, "Firmware Version", "R", "SO", "string"],
    [4, "Reboot", "E", "SM", "none"],
    [5, "Factory Reset", "E", "SO", "none"],
    [6, "Available Power Sources", "R", "MO", "integer", { range: { from: 0, to: 7 } }],
    [7, "Power Source Voltage", "R", "MO", "integer"],
    [8, "Power Source Current", "R", "MO", "integer"],
    [9, "Battery Level", "R", "SO", "integer", { range: { from: 0, to: 100 }, units: "/100" }],
    [10, "Memory Free", "R", "SO", "integer"],
    [11, "Error Code", "R", "MM", "integer", { range: { from: 0, to: 32 } }],
    [12, "Reset Error Code", "E", "SO", "none"],
    [13, "Current Time", "RW", "SO", "time"],
    [14, "UTC Offset", "RW", "SO", "string"],
    [15, "Timezone", "RW", "SO", "string"],
    [16, "Supported Binding and Modes", "R", "SM", "string"],
    [17, "Device Type", "R", "SO", "string"],
    [18, "Hardware Version", "R", "SO", "string"],
    [19, "Software Version", "R", "SO", "string"],
    [20, "Battery Status", "R", "SO", "integer", { range: { from: 0, to: 6 } }],
    [21, "Memory Total", "R", "SO", "integer"],
    [22, "ExtDevInfo", "R", "MO", "objlnk"],
  ];
}
