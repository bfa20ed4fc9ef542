import {
  EMPTY,
  type Identity,
  type Instant,
  Ledger,
  type Path,
  ReplayWindow,
  type Rng,
  type SessionId,
  type SocketAddress,
  UsageError,
} from "@godwit/base";
import { ContentType } from "./codes.ts";
import type { Generation } from "./credentials.ts";
import type { FlightItem } from "./flight.ts";
import type { KeySlab } from "./keys.ts";
import { fromLatin1, latin1 } from "./latin1.ts";
import type { PathClaim } from "./path-claim.ts";
import type { DtlsRecord } from "./record/header.ts";
import { openRecord, recordOverhead, sealRecord } from "./record/protection.ts";
import { type Suite, keyLength } from "./suites.ts";

/** What an association is made of; all of it survives a restart. */
export type AssociationState = {
  readonly session: SessionId;
  readonly suite: Suite;
  readonly identity: Identity;
  /** Of the credential by which it was proven. */
  readonly generation: Generation;
  readonly path: Path | undefined;
  /** Connection id in records to us; empty where the peer sends none. */
  readonly ownCid: Uint8Array;
  /** Connection id in records to the peer. */
  readonly peerCid: Uint8Array;
  readonly readKeys: Uint8Array;
  readonly writeKeys: Uint8Array;
  /** Largest plaintext the peer takes. */
  readonly peerLimit: number;
  /** RFC 9853 was agreed on. */
  readonly routability: boolean;
  /** Under which the handshake can be resumed; empty if it cannot. */
  readonly sessionId: Uint8Array;
};

/** A record that was opened, or the reason why it was thrown away. */
export type Received =
  | {
      readonly ok: true;
      readonly type: number;
      readonly content: Uint8Array;
      /** Its number is the highest so far. */
      readonly newest: boolean;
    }
  | { readonly ok: false; readonly why: string };

/**
 * One established association: keys, window, numbers, and where the peer is. There may be a million of them, so what is
 * rare is undefined until needed, and what is small is a number or a string.
 */
export class Association extends ReplayWindow {
  // What each record looks at comes first, and so lies together.
  readonly session: SessionId;
  readonly suite: Suite;
  readonly ledger: Ledger;
  /** As strings, for they are map keys and most are short. */
  readonly ownCid: string;
  readonly peerCid: string;
  readonly peerLimit: number;
  /** Next number to write in epoch 1. */
  writeSequence = 0;
  /** Numbers below this are reserved in the store; undefined: all are. */
  reserved: number | undefined;
  /** In whole s, which are no object of their own. */
  lastReceived: number;
  /** Restored after a crash: what arrives may have been received before, until freshness is shown. */
  doubtful = false;
  /** The peer is at an address that it has not yet been proven to be at. */
  claim: PathClaim | undefined;
  /** Our last flight, while the peer may still ask for it. */
  lastFlight: LastFlight | undefined;
  readonly #slab: KeySlab;
  readonly #slot: number;
  /** Undefined where its peer's address is not known. */
  #local: SocketAddress | undefined;
  /** The peer's, without an object of its own. */
  #host = "";
  #port = 0;
  readonly sessionId: string;
  readonly routability: boolean;
  generation: Generation;
  /** Records that did not verify under the read key. */
  forgeries = 0;
  /** The halves of the `HelloMark` of the ClientHello that led here: tell a late copy of it from a new one. */
  helloHigh: number | undefined;
  helloLow = 0;
  /** Waits for reserved numbers. */
  held: Uint8Array[] | undefined;
  /** A reservation is on its way to the store. */
  reserving = false;
  /** The usual one, a PSK identity, by its text alone. */
  #identity: string | Identity;

  constructor(
    state: AssociationState,
    slab: KeySlab,
    window: number,
    now: Instant,
    ledger?: Ledger,
  ) {
    super(window);
    this.session = state.session;
    this.suite = state.suite;
    this.#identity = state.identity.kind === "psk" ? state.identity.identity : state.identity;
    this.path = state.path;
    this.ownCid = latin1(state.ownCid);
    this.peerCid = latin1(state.peerCid);
    this.sessionId = latin1(state.sessionId);
    this.peerLimit = state.peerLimit;
    this.routability = state.routability;
    this.generation = state.generation;
    this.ledger = ledger ?? new Ledger();
    this.lastReceived = Math.floor(now / 1_000);
    this.#slab = slab;
    this.#slot = slab.keep(state.readKeys, state.writeKeys);
  }

  get identity(): Identity {
    const identity = this.#identity;
    return typeof identity === "string" ? { kind: "psk", identity } : identity;
  }

  /** Before it is opened: by this name the peer is known. */
  recognize(identity: Identity, generation: Generation): void {
    this.#identity = identity;
    this.generation = generation;
  }

  get path(): Path | undefined {
    const local = this.#local;
    return local && { local, remote: { host: this.#host, port: this.#port } };
  }
  set path(path: Path | undefined) {
    this.#local = path?.local;
    this.#host = path?.remote.host ?? "";
    this.#port = path?.remote.port ?? 0;
  }

  /** Whether its path is this one. */
  isAt({ local, remote }: Path): boolean {
    const own = this.#local;
    return (
      own !== undefined &&
      this.#port === remote.port &&
      this.#host === remote.host &&
      (own === local || (own.port === local.port && own.host === local.host))
    );
  }

  /** Which record numbers were received. */
  get window(): ReplayWindow {
    return this;
  }

  /** Verifies and decrypts; only a record that verified moves the window. Throws nothing. */
  open(record: DtlsRecord): Received {
    if (record.epoch !== 1) return drop("epoch");
    const withCid = record.type === ContentType.tls12Cid;
    // RFC 9146 4: whoever agreed on a connection id takes nothing without it, else rewriting the type would strip it.
    if (withCid !== this.ownCid.length > 0) return drop(withCid ? "cidUnexpected" : "cidMissing");
    if (!this.fresh(record.sequence)) return drop("replayed");
    const opened = openRecord(this.suite.cipher, this.#keys(false), record);
    if (!opened.ok) {
      if (opened.why === "forged") this.forgeries += 1;
      return drop(opened.why);
    }
    const newest = this.accept(record.sequence);
    return { ok: true, type: opened.type, content: opened.content, newest };
  }

  /** One record of epoch 1 under the next number. Ask `writable` first. */
  seal(type: number, content: Uint8Array, rng: Rng, padTo = 1): Uint8Array {
    if (!this.writable) throw new UsageError("no sequence number reserved");
    const cid = this.peerCid === "" ? EMPTY : fromLatin1(this.peerCid);
    const over = (content.length + 1) % padTo;
    const padding = cid.length > 0 && over > 0 ? padTo - over : 0;
    const sequence = this.writeSequence++;
    const record = { type, epoch: 1, sequence, cid, content, padding };
    return sealRecord(this.suite.cipher, this.#keys(true), record, rng);
  }

  get writable(): boolean {
    return this.reserved === undefined || this.writeSequence < this.reserved;
  }

  /** Bytes that a record adds to `content` bytes. */
  overhead(content: number): number {
    return recordOverhead(this.suite.cipher, this.peerCid.length, content);
  }

  /** Copies of the keys of both directions, for the store. */
  keys(): { readonly readKeys: Uint8Array; readonly writeKeys: Uint8Array } {
    return {
      readKeys: Uint8Array.from(this.#keys(false)),
      writeKeys: Uint8Array.from(this.#keys(true)),
    };
  }

  /** Wipes the keys. The association is not used after this. */
  destroy(): void {
    this.#slab.drop(this.#slot, keyLength(this.suite.cipher));
  }

  #keys(write: boolean): Uint8Array {
    return this.#slab.view(this.#slot, keyLength(this.suite.cipher), write);
  }
}

export type LastFlight = {
  readonly items: readonly FlightItem[];
  /** message_seq of the peer's Finished: its repetition asks for our last flight. */
  readonly asksAgain: number;
  readonly until: Instant;
  /** Next record number of epoch 0. */
  plainSequence: number;
  sentAt: Instant;
};

function drop(why: string): Received {
  return { ok: false, why };
}
