/** One option as it stands on the wire. Options in a message are sorted by number (RFC 7252 3.1). */
export type Option = { readonly number: number; readonly value: Uint8Array };

/** RFC 7252 4.2-4.3: how a message wants to be treated. The numbers are the wire's. */
export const CON = 0;
export const NON = 1;
export const ACK = 2;
export const RST = 3;
export type MessageType = typeof CON | typeof NON | typeof ACK | typeof RST;

/** A CoAP message over UDP, RFC 7252 section 3. `code` 0 is the empty message. */
export type Message = {
  readonly type: MessageType;
  /** class << 5 | detail: 0x01 is GET, 0x45 is 2.05. */
  readonly code: number;
  readonly mid: number;
  readonly token: Uint8Array;
  readonly options: readonly Option[];
  readonly payload: Uint8Array;
};

/** What a client asks, without the message layer's and the token's concerns; body whole, not a block. */
export type Request = {
  readonly code: number;
  readonly options: readonly Option[];
  readonly payload: Uint8Array;
};

/** What a server answers; the same shape, its code is of class 2, 4 or 5. */
export type Response = {
  readonly code: number;
  readonly options: readonly Option[];
  readonly payload: Uint8Array;
};
