import {
  FormatError,
  type Identity,
  type Instant,
  Reader,
  Writer,
  fromUtf8,
  utf8,
} from "@godwit/base";
import type { Generation } from "./credentials.ts";
import { type Suite, suiteOf } from "./suites.ts";

/** What both sides keep of a handshake to resume it later (RFC 5246 7.4.1.2, RFC 5077). */
export type SavedSession = {
  readonly suite: Suite;
  readonly master: Uint8Array;
  /** Made with RFC 7627; without it a session is not resumed by a peer that knows it. */
  readonly extended: boolean;
  /** Who the peer has proven to be. */
  readonly identity: Identity;
  /** Of the credential by which he proved it. */
  readonly generation: Generation;
  /** The name that the client asked for; a session is resumed under the same name only. */
  readonly serverName: string;
  readonly expires: Instant;
  /** Client side: how the server finds it again. */
  readonly id: Uint8Array;
  readonly ticket: Uint8Array;
};

/** Compact and versioned; secret, so it is sealed before it goes to a store or into a ticket. */
export function encodeSession(session: SavedSession): Uint8Array {
  const writer = new Writer(96)
    .u8(VERSION)
    .u16(session.suite.id)
    .u8(session.extended ? 1 : 0)
    .u48(Math.floor(session.expires))
    .u56(session.generation)
    .append(session.master)
    .prefixed(1, (w) => w.append(utf8(session.serverName)))
    .prefixed(1, (w) => w.append(session.id))
    .prefixed(2, (w) => w.append(session.ticket));
  writeIdentity(writer, session.identity);
  return writer.bytes();
}

export function decodeSession(bytes: Uint8Array): SavedSession {
  const reader = new Reader(bytes);
  const version = reader.u8();
  if (version < 1 || version > VERSION) throw new FormatError(`session of version ${version}`);
  const suite = knownSuite(reader.u16());
  const extended = reader.u8() === 1;
  const expires = reader.u48();
  const generation = version === 1 ? 0 : reader.u56();
  const master = Uint8Array.from(reader.take(48));
  const serverName = fromUtf8(reader.take(reader.u8()));
  const id = Uint8Array.from(reader.take(reader.u8()));
  const ticket = Uint8Array.from(reader.take(reader.u16()));
  const identity = readIdentity(reader);
  reader.end("session");
  return { suite, extended, expires, generation, master, serverName, id, ticket, identity };
}

export function knownSuite(id: number): Suite {
  const suite = suiteOf(id);
  if (suite === undefined) throw new FormatError(`unknown suite ${id}`);
  return suite;
}

/** kind(1) text<0..2^16-1>, the text's meaning by its kind. */
export function writeIdentity(writer: Writer, identity: Identity): void {
  writer
    .u8(KINDS.findIndex((kind) => kind === identity.kind))
    .prefixed(2, (w) => w.append(utf8(identityText(identity))));
}

export function readIdentity(reader: Reader): Identity {
  const kind = KINDS[reader.u8()];
  const text = fromUtf8(reader.take(reader.u16()));
  switch (kind) {
    case "none":
      return { kind };
    case "psk":
      return { kind, identity: text };
    case "rpk":
      return { kind, spki: text };
    case "x509":
      return { kind, subject: text };
    case undefined:
    default:
      throw new FormatError("unknown kind of identity");
  }
}

/**
 * One string for each identity, different for different ones: a key for maps. A PSK identity is its own key, for there
 * may be a million of them and a copy of each would cost memory.
 */
export function identityKey(identity: Identity): string {
  if (identity.kind === "psk" && !identity.identity.startsWith("\0")) return identity.identity;
  return `\0${identity.kind}:${identityText(identity)}`;
}

function identityText(identity: Identity): string {
  switch (identity.kind) {
    case "psk":
      return identity.identity;
    case "rpk":
      return identity.spki;
    case "x509":
      return identity.subject;
    case "none":
    case "oscore": // proves nothing here
      return "";
  }
}

/** 1: of releases without generations. */
const VERSION = 2;
const KINDS = ["none", "psk", "rpk", "x509"] as const;
