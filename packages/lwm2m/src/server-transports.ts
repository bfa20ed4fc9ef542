// All that carries CoAP to and from the server, as one machine. Sessions of DTLS have numbers that no other has:
//
//   datagram to our DTLS port ──> DtlsServer   sessions from DTLS_SESSIONS up
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
  type HandshakeFailure,
  type Sealer,
} from "@godwit/dtls";
import { FIRST_PROTECTED_SESSION } from "./protection-layer.ts";
import type { CredentialBook } from "./server/credential-book.ts";
import type { StoredRecord } from "./server/events.ts";
import { judgePeer, serverCredentials, type ServerDtlsOptions } from "./server/peers.ts";

export type ServerTransportsInput =
  | UdpSessionsInput
  /** The peer was seen to receive at its address, as of `path`. */
  | { readonly type: "validated"; readonly session: SessionId }
  /** The peer was seen to speak now, not in an earlier life of ours. */
  | { readonly type: "fresh"; readonly session: SessionId }
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
  /** The store is as it was left: sequence numbers in it have not been used. Else associations must be made anew. */
  readonly trusted: boolean;
  readonly load: (table: string) => Iterable<StoredRecord>;
};

export class ServerTransports implements Machine<ServerTransportsInput, ServerTransportsOutput> {
  readonly #udp: UdpSessions;
  readonly #dtls: DtlsServer | undefined;
  readonly #options: ServerTransportsOptions;
  #now: Instant;

  constructor(options: ServerTransportsOptions) {
    const { dtls, sealer, now, rng, load } = options;
    this.#options = options;
    this.#now = now;
    this.#udp = new UdpSessions(options.coap);
    if (dtls === undefined) return;
    const { certificates: _shown, anchors: _roots, port: _port, wall: _wall, ...rest } = dtls;
    this.#dtls = new DtlsServer({
      ...rest,
      rng,
      credentials: serverCredentials(dtls),
      firstSession: firstSession(now),
      ...(sealer === undefined ? {} : { sealer }),
    });
    if (sealer === undefined) return;
    for (const table of Object.values(TABLES)) {
      if (table === TABLES.association && !options.trusted) continue;
      for (const { key, value } of load(table)) {
        this.#dtls.handle({ type: "restore", table, key, value }, now);
      }
    }
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

  pathOf(session: SessionId): Path | undefined {
    return this.#of(session).pathOf(session);
  }

  /** The raw session at a path. */
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
        return isRaw(input.session) ? undefined : this.#dtls?.handle(input, now);
      case "revoke":
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
      if (raw.type === "received") return { ...raw, fresh: true };
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
          this.#dtls?.handle({ type: "psk", id, key: credentials.pskOf(lookup.identity) }, now);
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
  return session >= DTLS_SESSIONS;
}

/** No number is given out twice, restarts or not: fewer than `PER_MS` sessions open in a millisecond. */
function firstSession(now: Instant): SessionId {
  return DTLS_SESSIONS + Math.floor(now) * PER_MS;
}

/** Above all that protection layers give out. */
const DTLS_SESSIONS = 2 * FIRST_PROTECTED_SESSION;
const PER_MS = 256;
const NOBODY: Identity = { kind: "none" };
