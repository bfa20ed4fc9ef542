// All that carries CoAP to and from the server, as one machine. Sessions of DTLS have numbers that no other has:
//
//   datagram to our DTLS port ──> DtlsServer   sessions from FIRST_SECURED_SESSION up
//   datagram to another port ───> UdpSessions  sessions from 1 up
//
// Who may in is asked of the credential book, at once.

import {
  Ledger,
  earlier,
  unreachable,
  type DatagramEvent,
  type Identity,
  type Instant,
  type Machine,
  type Path,
  type Rng,
  type SessionId,
  type StoreChange,
  type StoreOutput,
  type StoredInput,
} from "@godwit/base";
import { UdpSessions, type CoapTuning, type UdpSessionsInput } from "@godwit/coap";
import {
  DtlsServer,
  TABLES,
  type DtlsOutput,
  type DtlsRestored,
  type DtlsStoredRow,
  type HandshakeFailure,
  type Sealer,
} from "@godwit/dtls";
import type { CredentialBook } from "./server/credential-book.ts";
import type { StoredRecord } from "./server/events.ts";
import { FIRST_PROTECTED_SESSION, FIRST_SECURED_SESSION, type Numbers } from "./server/numbers.ts";
import { judgePeer, serverCredentials, type ServerDtlsOptions } from "./server/peers.ts";

export type ServerTransportsInput =
  | UdpSessionsInput
  /** The peer was seen to receive at its address, as of `path`. */
  | { readonly type: "validated"; readonly session: SessionId }
  /** Says goodbye to whoever is at the peer's unproven address; the session stays. */
  | { readonly type: "dismiss"; readonly session: SessionId }
  /** The peer was seen to speak now, not in an earlier life of ours. */
  | { readonly type: "fresh"; readonly session: SessionId }
  /** A guest is to stay in place of the session that its identity had. */
  | { readonly type: "settle"; readonly session: SessionId }
  /** A credential is no longer good: who came in by it is cut off. */
  | { readonly type: "revoke"; readonly identity: Identity }
  | StoredInput;

export type ServerTransportsOutput =
  | DatagramEvent
  /** `fresh` false: it may have been received before a restart already. */
  | {
      readonly type: "received";
      readonly session: SessionId;
      readonly bytes: Uint8Array;
      readonly fresh: boolean;
    }
  | {
      readonly type: "opened";
      readonly session: SessionId;
      readonly identity: Identity;
      readonly how: "raw" | "full" | "resumed" | "restored";
      /** Its identity has another session, which goes on until `settle`. */
      readonly guest?: boolean;
    }
  | { readonly type: "moved"; readonly session: SessionId; readonly validated: boolean }
  | { readonly type: "validated"; readonly session: SessionId }
  | { readonly type: "closed"; readonly session: SessionId; readonly why: string }
  /** A DTLS handshake that came to nothing. */
  | HandshakeFailed
  | { readonly type: "keyLog"; readonly line: string }
  | StoreOutput;

/** `why` is our own text; whom the peer claims to be is not proven, nor that the endpoint is its. */
export type HandshakeFailed = Omit<HandshakeFailure, "type"> & {
  readonly type: "handshakeFailed";
  readonly endpoint: string | undefined;
};

export type ServerTransportsOptions = {
  readonly rng: Rng;
  readonly coap: CoapTuning;
  readonly now: Instant;
  readonly credentials: CredentialBook;
  readonly dtls: ServerDtlsOptions | undefined;
  /** Keeps associations and sessions over a restart. */
  readonly sealer: Sealer | undefined;
  /** As they go on after an earlier run. */
  readonly numbers: Numbers;
  /** See UdpSessions. */
  readonly strange: ((datagram: Uint8Array, path: Path) => string | undefined) | undefined;
};

export class ServerTransports implements Machine<ServerTransportsInput, ServerTransportsOutput> {
  readonly #udp: UdpSessions;
  readonly #dtls: DtlsServer | undefined;
  readonly #options: ServerTransportsOptions;
  #now: Instant;

  constructor(options: ServerTransportsOptions) {
    const { dtls, sealer, now, rng, numbers, credentials } = options;
    this.#options = options;
    this.#now = now;
    const { strange } = options;
    this.#udp = new UdpSessions(options.coap, {
      first: numbers.raw.ahead,
      last: FIRST_PROTECTED_SESSION - 1,
      ...(strange === undefined ? {} : { strange }),
    });
    if (dtls === undefined) return;
    const { certificates: _shown, anchors: _roots, port: _port, wall: _wall, ...rest } = dtls;
    this.#dtls = new DtlsServer({
      ...rest,
      rng,
      guests: true,
      credentials: serverCredentials(dtls),
      takeSession: () => numbers.secured.next(),
      vouches: (identity, generation) => credentials.vouches(identity, generation),
      ...(sealer === undefined ? {} : { sealer }),
    });
  }

  /**
   * Takes back what DTLS left in the store. `trusted` false: the store is older than it was and sequence numbers in it have
   * been used, so associations must be made anew. Returns what does not go on.
   */
  restore(
    load: (table: string) => Iterable<StoredRecord>,
    trusted: boolean,
    now: Instant,
  ): DtlsRestored | undefined {
    if (this.#options.sealer === undefined) return undefined;
    return this.#dtls?.restore(rowsOf(load, trusted), now);
  }

  /** The session in which an identity has an association. */
  sessionOf(identity: Identity): SessionId | undefined {
    return this.#dtls?.sessionOf(identity);
  }

  get wakeAt(): Instant | undefined {
    return earlier(this.#udp.wakeAt, this.#dtls?.wakeAt);
  }

  /** Bytes and drops that belong to no session. */
  get strays(): Ledger {
    const all = new Ledger();
    all.absorb(this.#udp.strays);
    if (this.#dtls !== undefined) all.absorb(this.#dtls.ledger);
    return all;
  }

  /** What must be stored once a store that is not trusted was read. */
  forgetting(load: (table: string) => Iterable<StoredRecord>): readonly StoreChange[] {
    const table = TABLES.association;
    return [...load(table)].map(({ key }) => ({ table, key, value: undefined }));
  }

  ledgerOf(session: SessionId): Ledger {
    return this.#of(session).ledgerOf(session);
  }

  /** Where the session's peer is; nothing while another peer has its path. */
  pathOf(session: SessionId): Path | undefined {
    return this.#of(session).pathOf(session);
  }

  /** Where the session's peer was heard last. */
  lastPathOf(session: SessionId): Path | undefined {
    return isRaw(session) ? this.#udp.lastPathOf(session) : this.pathOf(session);
  }

  /** The raw session at a path; a new one if there is none. */
  connect(path: Path, now: Instant): SessionId {
    return this.#udp.connect(path, now);
  }

  /** The raw session at a path that is in use. */
  sessionAt(path: Path): SessionId | undefined {
    return this.#udp.sessionAt(path);
  }

  handle(input: ServerTransportsInput, now: Instant): void {
    this.#now = now;
    switch (input.type) {
      case "datagram":
        if (this.#dtls !== undefined && input.path.local.port === this.#options.dtls?.port) {
          return this.#dtls.handle(input, now);
        }
        return this.#udp.handle(input, now);
      case "send":
      case "close":
        return this.#of(input.session).handle(input, now);
      case "validated":
      case "fresh":
      case "dismiss":
        return isRaw(input.session) ? undefined : this.#dtls?.handle(input, now);
      case "revoke":
      case "settle":
      case "stored":
        return this.#dtls?.handle(input, now);
      case "pin":
      case "unpin":
      case "displace":
      case "restore":
        return isRaw(input.session) ? this.#udp.handle(input, now) : undefined;
      case "rebind":
        return this.#udp.handle(input, now);
      default:
        return unreachable(input);
    }
  }

  wake(now: Instant): void {
    this.#now = now;
    this.#udp.wake(now);
    this.#dtls?.wake(now);
  }

  poll(): ServerTransportsOutput | undefined {
    const raw = this.#udp.poll();
    if (raw !== undefined) {
      if (raw.type === "received") {
        const { session, bytes } = raw; // no spread: this is made for every datagram
        return { type: "received", session, bytes, fresh: true };
      }
      return raw.type === "opened" ? { ...raw, identity: NOBODY, how: "raw" } : raw;
    }
    for (let output = this.#dtls?.poll(); output !== undefined; output = this.#dtls?.poll()) {
      const told = this.#fromDtls(output, this.#now);
      if (told !== undefined) return told;
    }
    return undefined;
  }

  #fromDtls(output: DtlsOutput, now: Instant): ServerTransportsOutput | undefined {
    switch (output.type) {
      case "lookup": {
        const { id, lookup } = output;
        const { credentials, dtls } = this.#options;
        if (lookup.kind === "psk") {
          const { identity } = lookup;
          const generation = credentials.generationOf({ kind: "psk", identity }) ?? 0;
          const key = credentials.pskOf(identity);
          this.#dtls?.handle({ type: "psk", id, key, generation }, now);
        } else if (dtls !== undefined) {
          const verdict = judgePeer(lookup, credentials, dtls, now);
          this.#dtls?.handle({ type: "verdict", id, verdict }, now);
        }
        return undefined;
      }
      case "failed":
        return {
          ...output,
          type: "handshakeFailed",
          endpoint: this.#options.credentials.endpointOf(output.claimed),
        };
      case "stalled":
        return undefined; // of clients
      case "datagram":
      case "received":
      case "opened":
      case "moved":
      case "validated":
      case "closed":
      case "keyLog":
      case "store":
        return output;
      default:
        return unreachable(output);
    }
  }

  #of(session: SessionId): UdpSessions | DtlsServer {
    return isSecured(session) ? (this.#dtls ?? this.#udp) : this.#udp;
  }
}

/** Whether a session proves nothing and is known by its path. */
export function isRaw(session: SessionId): boolean {
  return session < FIRST_PROTECTED_SESSION;
}

/** Whether it is one of DTLS. */
export function isSecured(session: SessionId): boolean {
  return session >= FIRST_SECURED_SESSION;
}

function* rowsOf(
  load: (table: string) => Iterable<StoredRecord>,
  trusted: boolean,
): Iterable<DtlsStoredRow> {
  for (const table of Object.values(TABLES)) {
    if (table === TABLES.association && !trusted) continue;
    for (const { key, value } of load(table)) yield { table, key, value };
  }
}

const NOBODY: Identity = { kind: "none" };
