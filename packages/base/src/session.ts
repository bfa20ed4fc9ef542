/**
 * A session is what a registration points to: a UDP path, a DTLS association, an OSCORE context. It keeps its
 * number through address changes and restarts; a number is never given out twice.
 */
export type SessionId = number;

/** One end of a UDP path. `host` is an IP address in its printed form, never a name. */
export type SocketAddress = { readonly host: string; readonly port: number };

/** Seen from us: `local` is our end, `remote` the peer's as it appears here (behind a NAT: the NAT's). */
export type Path = { readonly local: SocketAddress; readonly remote: SocketAddress };

/** The shape in which datagrams enter and leave every stack, from real sockets and in the simulator. */
export type DatagramEvent = {
  readonly type: "datagram";
  readonly path: Path;
  readonly bytes: Uint8Array;
};

/** "192.0.2.1:5683", "[2001:db8::1]:5683". */
export function formatAddress(address: SocketAddress): string {
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return `${host}:${address.port}`;
}

/** Who the peer has proven to be. `none`: nothing was proven (raw UDP). */
export type Identity =
  | { readonly kind: "none" }
  | { readonly kind: "psk"; readonly identity: string }
  | { readonly kind: "oscore"; readonly senderId: string; readonly idContext: string | undefined }
  | { readonly kind: "rpk"; readonly spki: string }
  /** `subject`: the name by which its certificate is known, or "sha256:" and the certificate's fingerprint. */
  | { readonly kind: "x509"; readonly subject: string };
