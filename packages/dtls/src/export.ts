import {
  FormatError,
  type Path,
  Reader,
  type SocketAddress,
  Writer,
  fromUtf8,
  utf8,
} from "@godwit/base";
import type { Association, AssociationState } from "./association.ts";
import { fromLatin1 } from "./latin1.ts";
import { knownSuite, readIdentity, writeIdentity } from "./saved-session.ts";
import { keyLength } from "./suites.ts";

/** An association as the store keeps it. */
export type StoredAssociation = AssociationState & {
  /** 1: its session's number may have been cut to its lower 48 bits. */
  readonly version: number;
  /** First sequence number that was not reserved: writing goes on here after a crash. */
  readonly writeFrom: number;
  /** Highest number received when this was written, -1 for none. */
  readonly received: number;
};

/**
 *   version(1) flags(1) session(7) generation(7) suite(2) writeFrom(6) received + 1 (6) peerLimit(2)
 *   ownCid<1> peerCid<1> sessionId<1> identity [local remote] keys
 * Secret: it is sealed before it leaves the machine. `writeFrom`: the bound being reserved by this very record.
 */
export function encodeAssociation(association: Association, writeFrom: number): Uint8Array {
  const { suite, claim } = association;
  const path = claim === undefined ? association.path : claim.proven; // a claim dies with us
  const { readKeys, writeKeys } = association.keys();
  const writer = new Writer(192)
    .u8(VERSION)
    .u8((association.routability ? ROUTABILITY : 0) | (path === undefined ? 0 : PATH))
    .u56(association.session)
    .u56(association.generation)
    .u16(suite.id)
    .u48(writeFrom)
    .u48(association.window.top + 1)
    .u16(association.peerLimit)
    .prefixed(1, (w) => w.append(fromLatin1(association.ownCid)))
    .prefixed(1, (w) => w.append(fromLatin1(association.peerCid)))
    .prefixed(1, (w) => w.append(fromLatin1(association.sessionId)));
  writeIdentity(writer, association.identity);
  if (path !== undefined) {
    writeAddress(writer, path.local);
    writeAddress(writer, path.remote);
  }
  return writer.append(readKeys).append(writeKeys).bytes();
}

export function decodeAssociation(bytes: Uint8Array): StoredAssociation {
  const reader = new Reader(bytes);
  const version = reader.u8();
  if (version < 1 || version > VERSION) throw new FormatError(`association of version ${version}`);
  const flags = reader.u8();
  const session = version === 1 ? reader.u48() : reader.u56();
  const generation = version === 1 ? 0 : reader.u56();
  const suite = knownSuite(reader.u16());
  const writeFrom = reader.u48();
  const received = reader.u48() - 1;
  const peerLimit = reader.u16();
  const ownCid = Uint8Array.from(reader.take(reader.u8()));
  const peerCid = Uint8Array.from(reader.take(reader.u8()));
  const sessionId = Uint8Array.from(reader.take(reader.u8()));
  const identity = readIdentity(reader);
  let path: Path | undefined;
  if ((flags & PATH) !== 0) path = { local: readAddress(reader), remote: readAddress(reader) };
  const length = keyLength(suite.cipher);
  const readKeys = Uint8Array.from(reader.take(length));
  const writeKeys = Uint8Array.from(reader.take(length));
  reader.end("association");
  return {
    version,
    session,
    generation,
    suite,
    writeFrom,
    received,
    peerLimit,
    ownCid,
    peerCid,
    sessionId,
    identity,
    path,
    readKeys,
    writeKeys,
    routability: (flags & ROUTABILITY) !== 0,
  };
}

/**
 * The association of a row, as it goes on after a crash: its first record waits for numbers, and what it receives may have
 * been received before.
 */
export function revive(
  state: StoredAssociation,
  make: (state: AssociationState) => Association,
): Association {
  const association = make(state);
  association.writeSequence = state.writeFrom;
  association.reserved = state.writeFrom; // the first answer waits for the next reservation
  association.window.raise(state.received);
  association.doubtful = true;
  return association;
}

function writeAddress(writer: Writer, address: SocketAddress): void {
  writer.prefixed(1, (w) => w.append(utf8(address.host))).u16(address.port);
}

function readAddress(reader: Reader): SocketAddress {
  return { host: fromUtf8(reader.take(reader.u8())), port: reader.u16() };
}

const VERSION = 2;
const ROUTABILITY = 1;
const PATH = 2;
