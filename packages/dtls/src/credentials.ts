import type { Identity, Instant } from "@godwit/base";
import type { SigningKey } from "./crypto.ts";
import type { CertificateMessage } from "./handshake/certificate.ts";

/** What our side shows in the certificate suites. */
export type Certificate =
  /** RFC 7250: the bare public key. */
  | { readonly kind: "rpk"; readonly key: SigningKey }
  /** DER certificates, our own first. */
  | {
      readonly kind: "x509";
      readonly key: SigningKey;
      readonly chain: readonly Uint8Array[];
    };

/** What a server has to show and asks of its clients. */
export type ServerCredentials = {
  /** PSK suites are offered; keys are looked up by identity. */
  readonly psk: boolean;
  /** Sent with ServerKeyExchange; costs bytes and most clients pass it over. */
  readonly pskHint?: string;
  /** At most one of each kind; which one is shown is the client's wish. */
  readonly certificates: readonly Certificate[];
  /** Kinds of client certificates taken, best first; empty asks for none. */
  readonly clientCertificates: readonly ("rpk" | "x509")[];
};

/** What a client shows, and which kind of proof it takes of the server. */
export type ClientCredentials =
  | { readonly kind: "psk"; readonly identity: string; readonly key: Uint8Array }
  | {
      readonly kind: "certificate";
      readonly certificate: Certificate | undefined;
      readonly serverCertificates: readonly ("rpk" | "x509")[];
    };

/** A question to the shell; the handshake waits for its answer. */
export type Lookup =
  /** Which key belongs to this identity? Answered by `psk`. */
  | { readonly kind: "psk"; readonly identity: string }
  /** May this peer in? It has proven that it holds the key. Answered by `verdict`. */
  | {
      readonly kind: "certificate";
      readonly identity: Identity;
      readonly certificate: CertificateMessage;
      /** The name the client asked for by SNI. */
      readonly serverName: string;
    }
  /** Is this identity, proven in an earlier handshake by a credential of this generation, still welcome? Answered by `verdict`. */
  | { readonly kind: "resume"; readonly identity: Identity; readonly generation: Generation };

/**
 * Tells a credential from those that had its name before: the caller's number, kept with all that comes of a handshake and
 * shown to him when that is used again. 0 to 2^53 - 1; 0 where he gives none.
 */
export type Generation = number;

/** The answer to a `certificate` or `resume` look-up. `alert`: what the peer is told, a code of RFC 5246 7.2. */
export type Verdict =
  /**
   * `identity`: what the peer is called from now on, where a certificate has several names; that of the look-up if not given.
   * `until`: its proof ends then, and with it what may be resumed.
   */
  | {
      readonly ok: true;
      readonly identity?: Identity;
      readonly until?: Instant;
      readonly generation?: Generation;
    }
  | { readonly ok: false; readonly why: string; readonly alert?: number };
