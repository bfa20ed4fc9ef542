import { resources, type ObjectDefinition, type Row } from "../definition.ts";

/** /0: only a bootstrap server writes it, nobody reads it (OMA TS Core E.1). */
export const SECURITY: ObjectDefinition = {
  id: 0,
  name: "LWM2M Security",
  version: "1.2",
  multiple: true,
  mandatory: true,
  hidden: true,
  resources: resources(rows()),
};

/** /0 in version 1.1: up to OSCORE. */
export const SECURITY_1_1: ObjectDefinition = {
  ...SECURITY,
  version: "1.1",
  resources: SECURITY.resources.filter(({ id }) => id <= 17),
};

/** /0 in version 1.0. */
export const SECURITY_1_0: ObjectDefinition = {
  ...SECURITY,
  version: "1.0",
  resources: SECURITY.resources.filter(({ id }) => id <= 12),
};

function rows(): readonly Row[] {
  return [
    [0, "LWM2M Server URI", "", "SM", "string", { range: { from: 0, to: 255 } }],
    [1, "Bootstrap-Server", "", "SM", "boolean"],
    [2, "Security Mode", "", "SM", "integer", { range: { from: 0, to: 4 } }],
    [3, "Public Key or Identity", "", "SM", "opaque"],
    [4, "Server Public Key", "", "SM", "opaque"],
    [5, "Secret Key", "", "SM", "opaque"],
    [6, "SMS Security Mode", "", "SO", "integer", { range: { from: 0, to: 255 } }],
    [7, "SMS Binding Key Parameters", "", "SO", "opaque", { range: { oneOf: [6] } }],
    [8, "SMS Binding Secret Key(s)", "", "SO", "opaque", { range: { oneOf: [16, 32, 48] } }],
    [9, "LwM2M Server SMS Number", "", "SO", "string"],
    [10, "Short Server ID", "", "SO", "integer", { range: { from: 1, to: 65534 } }],
    [11, "Client Hold Off Time", "", "SO", "integer", { units: "s" }],
    [12, "Bootstrap-Server Account Timeout", "", "SO", "integer", { units: "s" }],
    [13, "Matching Type", "", "SO", "unsigned", { range: { from: 0, to: 3 } }],
    [14, "SNI", "", "SO", "string"],
    [15, "Certificate Usage", "", "SO", "unsigned", { range: { from: 0, to: 3 } }],
    [16, "DTLS/TLS Ciphersuite", "", "MO", "unsigned"],
    [17, "OSCORE Security Mode", "", "SO", "objlnk"],
    [18, "Groups To Use by Client", "", "MO", "unsigned", { range: { from: 0, to: 65535 } }],
    [
      19,
      "Signature Algorithms Supported by Server",
      "",
      "MO",
      "unsigned",
      { range: { from: 0, to: 65535 } },
    ],
    [
      20,
      "Signature Algorithms To Use by Client",
      "",
      "MO",
      "unsigned",
      { range: { from: 0, to: 65535 } },
    ],
    [
      21,
      "Signature Algorithm Certs Supported by Server",
      "",
      "MO",
      "unsigned",
      { range: { from: 0, to: 65535 } },
    ],
    [
      22,
      "TLS 1.3 Features To Use by Client",
      "",
      "SO",
      "unsigned",
      { range: { from: 0, to: 65535 } },
    ],
    [
      23,
      "TLS Extensions Supported by Server",
      "",
      "SO",
      "unsigned",
      { range: { from: 0, to: 65535 } },
    ],
    [
      24,
      "TLS Extensions To Use by Client",
      "",
      "SO",
      "unsigned",
      { range: { from: 0, to: 65535 } },
    ],
    [25, "Secondary LwM2M Server URI", "", "MO", "string", { range: { from: 0, to: 255 } }],
    [26, "MQTT Server", "", "SO", "objlnk"],
    [27, "LwM2M COSE Security", "", "MO", "objlnk"],
    [28, "RDS Destination Port", "", "SO", "integer", { range: { from: 0, to: 15 } }],
    [29, "RDS Source Port", "", "SO", "integer", { range: { from: 0, to: 15 } }],
    [30, "RDS Application ID", "", "SO", "string"],
  ];
}
