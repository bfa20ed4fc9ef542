/** Option numbers by their registered names (RFC 7252 5.10 and the documents that added to it). */
export const OptionNumber = {
  IfMatch: 1,
  UriHost: 3,
  ETag: 4,
  IfNoneMatch: 5,
  Observe: 6,
  UriPort: 7,
  LocationPath: 8,
  Oscore: 9,
  UriPath: 11,
  ContentFormat: 12,
  MaxAge: 14,
  UriQuery: 15,
  HopLimit: 16,
  Accept: 17,
  QBlock1: 19,
  LocationQuery: 20,
  Edhoc: 21,
  Block2: 23,
  Block1: 27,
  Size2: 28,
  QBlock2: 31,
  ProxyUri: 35,
  ProxyScheme: 39,
  Size1: 60,
  Echo: 252,
  NoResponse: 258,
  RequestTag: 292,
} as const;

/** An endpoint that does not know a critical option refuses the message (RFC 7252 5.4.1). */
export function isCritical(number: number): boolean {
  return (number & 0x01) !== 0;
}

/** A proxy that does not know an unsafe option does not forward the message (RFC 7252 5.4.2). */
export function isUnsafe(number: number): boolean {
  return (number & 0x02) !== 0;
}

/** Not part of the cache key (RFC 7252 5.4.6, figure 11). */
export function isNoCacheKey(number: number): boolean {
  return (number & 0x1e) === 0x1c;
}
