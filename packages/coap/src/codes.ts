/** Method and response codes by their registered names (RFC 7252 12.1, 7959, 8132, 8516, 8768): class << 5 | detail. */
export const Code = {
  Empty: 0x00,
  GET: 0x01,
  POST: 0x02,
  PUT: 0x03,
  DELETE: 0x04,
  FETCH: 0x05,
  PATCH: 0x06,
  iPATCH: 0x07,
  Created: 0x41,
  Deleted: 0x42,
  Valid: 0x43,
  Changed: 0x44,
  Content: 0x45,
  Continue: 0x5f,
  BadRequest: 0x80,
  Unauthorized: 0x81,
  BadOption: 0x82,
  Forbidden: 0x83,
  NotFound: 0x84,
  MethodNotAllowed: 0x85,
  NotAcceptable: 0x86,
  RequestEntityIncomplete: 0x88,
  Conflict: 0x89,
  PreconditionFailed: 0x8c,
  RequestEntityTooLarge: 0x8d,
  UnsupportedContentFormat: 0x8f,
  UnprocessableEntity: 0x96,
  TooManyRequests: 0x9d,
  InternalServerError: 0xa0,
  NotImplemented: 0xa1,
  BadGateway: 0xa2,
  ServiceUnavailable: 0xa3,
  GatewayTimeout: 0xa4,
  ProxyingNotSupported: 0xa5,
  HopLimitReached: 0xa8,
} as const;

export type CodeName = keyof typeof Code;

/** The class of a code: 0 request, 2 success, 4 the client erred, 5 the server erred; 1, 6, 7 are reserved on UDP. */
export function codeClass(code: number): number {
  return code >>> 5;
}

/** `0x45` as "2.05", the way RFC 7252 3 writes it. */
export function formatCode(code: number): string {
  return `${code >>> 5}.${String(code & 0x1f).padStart(2, "0")}`;
}

/** The registered name of a code, undefined for a code without one. */
export function codeName(code: number): CodeName | undefined {
  return NAMES.get(code);
}

/** A method, registered or not: 0.01 to 0.31. */
export function isRequest(code: number): boolean {
  return code >= 0x01 && code <= 0x1f;
}

/** A response code, registered or not: 2.00 to 5.31 (RFC 7252 12.1). */
export function isResponse(code: number): boolean {
  return code >= 0x40 && code <= 0xbf;
}

/** A response of class 2. */
export function isSuccess(code: number): boolean {
  return code >>> 5 === 2;
}

const NAMES: ReadonlyMap<number, CodeName> = new Map(
  Object.entries(Code).map(([name, code]) => [code, name as CodeName]), // the keys are CodeNames
);
