import { resources, type ObjectDefinition, type Row } from "../definition.ts";

/** /1: what one server may ask of the client, and how the client retries (OMA TS Core E.2). */
export const SERVER: ObjectDefinition = {
  id: 1,
  name: "LwM2M Server",
  version: "1.2",
  multiple: true,
  mandatory: true,
  hidden: false,
  resources: resources(rows()),
};

/** /1 in version 1.1: the retry resources 13-20 could be reached by bootstrap only. */
export const SERVER_1_1: ObjectDefinition = {
  ...SERVER,
  version: "1.1",
  resources: SERVER.resources
    .filter(({ id }) => id <= 23)
    .map((resource) =>
      resource.id >= 13 && resource.id <= 20 ? { ...resource, operations: "" as const } : resource,
    ),
};

/** /1 in version 1.0. */
export const SERVER_1_0: ObjectDefinition = {
  ...SERVER,
  version: "1.0",
  resources: SERVER.resources
    .filter(({ id }) => id <= 8)
    .map((resource) =>
      resource.id === 0 ? { ...resource, range: { from: 1, to: 65_535 } } : resource,
    ),
};

function rows(): readonly Row[] {
  return [
    [0, "Short Server ID", "R", "SM", "integer", { range: { from: 1, to: 65534 } }],
    [1, "Lifetime", "RW", "SM", "integer", { units: "s" }],
    [2, "Default Minimum Period", "RW", "SO", "integer", { units: "s" }],
    [3, "Default Maximum Period", "RW", "SO", "integer", { units: "s" }],
    [4, "Disable", "E", "SO", "none"],
    [5, "Disable Timeout", "RW", "SO", "integer", { units: "s" }],
    [6, "Notification Storing When Disabled or Offline", "RW", "SM", "boolean"],
    [7, "Binding", "RW", "SM", "string"],
    [8, "Registration Update Trigger", "E", "SM", "none"],
    [9, "Bootstrap-Request Trigger", "E", "SO", "none"],
    [10, "APN Link", "RW", "SO", "objlnk"],
    [11, "TLS-DTLS Alert Code", "R", "SO", "unsigned", { range: { from: 0, to: 255 } }],
    [12, "Last Bootstrapped", "R", "SO", "time"],
    [13, "Registration Priority Order", "R", "SO", "unsigned"],
    [14, "Initial Registration Delay Timer", "RW", "SO", "unsigned", { units: "s" }],
    [15, "Registration Failure Block", "R", "SO", "boolean"],
    [16, "Bootstrap on Registration Failure", "R", "SO", "boolean"],
    [17, "Communication Retry Count", "RW", "SO", "unsigned"],
    [18, "Communication Retry Timer", "RW", "SO", "unsigned", { units: "s" }],
    [19, "Communication Sequence Delay Timer", "RW", "SO", "unsigned", { units: "s" }],
    [20, "Communication Sequence Retry Count", "RW", "SO", "unsigned"],
    [21, "Trigger", "RW", "SO", "boolean"],
    [22, "Preferred Transport", "RW", "SO", "string"],
    [23, "Mute Send", "RW", "SO", "boolean"],
    [24, "Alternate APN Links", "RW", "MO", "objlnk"],
    [25, "Supported Server Versions", "RW", "MO", "string"],
    [26, "Default Notification Mode", "RW", "SO", "integer", { range: { from: 0, to: 1 } }],
    [27, "Profile ID Hash Algorithm", "RW", "SO", "unsigned", { range: { from: 0, to: 255 } }],
  ];
}
