/** What the cost of a sort is held against: the cheapest valid exchange that asks the server for the same. */
export type Reference =
  /** A record of an unknown Connection ID: what names nothing at all. */
  | "unknown CID"
  /** An empty confirmable CoAP message and its RST, from an address that was not heard before. */
  | "CoAP ping"
  /** GET /.well-known/core and its answer, from an address that was not heard before. */
  | "CoAP GET"
  /** A ping and its RST inside a session by Connection ID. */
  | "ping over CID"
  /** All that the server does for a resumed handshake. */
  | "resumed handshake"
  /** GET /.well-known/core and its answer over OSCORE. */
  | "OSCORE GET"
  /** All that the server does to agree on new keys by RFC 8613 Appendix B.2. */
  | "B.2 key agreement";

/** What a stranger knows of the server: all of it can be read on the wire. */
export type Known = {
  /** Connection ids of devices that are at work. */
  readonly cids: readonly Uint8Array[];
  /** Recipient ID of an OSCORE context with keys from the start. */
  readonly kid: Uint8Array;
  /** Recipient ID of a credential whose keys come of Appendix B.2. */
  readonly negotiatedKid: Uint8Array;
  /** The first message of an Appendix B.2 run, recorded. */
  readonly recordedB2: Uint8Array;
};

/** One sort of hostile datagram. */
export type Sort = Kind & {
  readonly name: string;
  /** The `n`-th of them. */
  readonly datagram: (known: Known, n: number) => Uint8Array;
};

/** What sorts have in common that ask the server for the same. */
export type Kind = {
  readonly against: Reference;
  /** The cost of one datagram over that of one exchange of `against`. */
  readonly atMost: number;
  readonly port: "coap" | "coaps";
  /**
   * `many`: addresses of their own. `host`: ports of one address. `known`: an address that has a DTLS association. `halfOpen`:
   * one whose handshake waits for the client.
   */
  readonly from: "many" | "host" | "known" | "halfOpen";
  /** What the sender says to the server's answer, if anything. */
  readonly reply?: (sent: Uint8Array, answer: Uint8Array) => Uint8Array | undefined;
};

/** Sorts of one kind, by name. */
export function sorts(kind: Kind, all: Readonly<Record<string, Sort["datagram"]>>): Sort[] {
  return Object.entries(all).map(([name, datagram]) => ({ ...kind, name, datagram }));
}
