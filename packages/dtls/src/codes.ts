/** ContentType (RFC 6347 4.1, RFC 9146 4, RFC 9853 4). */
export const ContentType = {
  changeCipherSpec: 20,
  alert: 21,
  handshake: 22,
  applicationData: 23,
  tls12Cid: 25,
  returnRoutabilityCheck: 27,
} as const;

/** HandshakeType (RFC 6347 4.3.2, RFC 5077 3.3). */
export const HandshakeType = {
  helloRequest: 0,
  clientHello: 1,
  serverHello: 2,
  helloVerifyRequest: 3,
  newSessionTicket: 4,
  certificate: 11,
  serverKeyExchange: 12,
  certificateRequest: 13,
  serverHelloDone: 14,
  certificateVerify: 15,
  clientKeyExchange: 16,
  finished: 20,
} as const;

/** AlertDescription, as far as this stack sends or names them (RFC 5246 7.2, RFC 4279 6, RFC 5746). */
export const Alert = {
  closeNotify: 0,
  unexpectedMessage: 10,
  recordOverflow: 22,
  handshakeFailure: 40,
  badCertificate: 42,
  unsupportedCertificate: 43,
  certificateRevoked: 44,
  certificateExpired: 45,
  certificateUnknown: 46,
  illegalParameter: 47,
  unknownCa: 48,
  accessDenied: 49,
  decodeError: 50,
  decryptError: 51,
  protocolVersion: 70,
  insufficientSecurity: 71,
  internalError: 80,
  userCanceled: 90,
  noRenegotiation: 100,
  unsupportedExtension: 110,
  unrecognizedName: 112,
  unknownPskIdentity: 115,
} as const;

export type AlertCode = (typeof Alert)[keyof typeof Alert];

/** ExtensionType, as far as this stack understands them. */
export const ExtensionType = {
  serverName: 0,
  maxFragmentLength: 1,
  supportedGroups: 10,
  ecPointFormats: 11,
  signatureAlgorithms: 13,
  clientCertificateType: 19,
  serverCertificateType: 20,
  encryptThenMac: 22,
  extendedMasterSecret: 23,
  recordSizeLimit: 28,
  sessionTicket: 35,
  connectionId: 54,
  returnRoutabilityCheck: 61,
  renegotiationInfo: 0xff01,
} as const;

/** CertificateType (RFC 7250). */
export const CertificateType = { x509: 0, rawPublicKey: 2 } as const;

/** NamedGroup (RFC 8422 5.1.1). */
export const Group = { secp256r1: 23, x25519: 29 } as const;

/** ecdsa_secp256r1_sha256: the one signature scheme that LwM2M devices share (RFC 7925 4.4). */
export const ECDSA_SHA256 = 0x0403;

export const DTLS_1_0 = 0xfeff;
export const DTLS_1_2 = 0xfefd;

/** A cipher suite value by which a client says that it knows secure renegotiation (RFC 5746 3.3). */
export const EMPTY_RENEGOTIATION_INFO_SCSV = 0x00ff;
