// The device's way to its server over DTLS, and what it does when the way is gone:
//
//   connect ──> association kept, with a connection id? ──> open, with not one datagram
//           └─> session saved? ──> resume ──(server does not know it)──> full handshake, in the same flight
//           └─> full handshake
//
//   open ── N confirmable messages unanswered, or closed by the server ──> resume ...
//   kept ── the first one unanswered ──> resume ...
//
// What was kept may be older than it should be: then the server has seen its numbers, and is silent. To go on until one is new
// would use all before it twice.
//
// A server that lost its state cannot say so, and a NAT never does: only silence shows it.

import {
  Ledger,
  Outbox,
  earlier,
  unreachable,
  type DatagramEvent,
  type Instant,
  type Machine,
  type Path,
  type Rng,
  type SessionId,
  type StoreOutput,
  type StoredInput,
} from "@godwit/base";
import { CON, isRequest } from "@godwit/coap";
import { DtlsClient, TABLES, type DtlsClientOptions, type DtlsOutput } from "@godwit/dtls";

export type ClientDtlsOptions = Omit<DtlsClientOptions, "rng"> & {
  /** What the store kept: rows of the tables of DTLS. Connections by address only (no `connectionId`) begin anew. */
  readonly stored?: readonly DtlsRow[];
  readonly ladder?: Partial<LadderTuning>;
  /** Answers for the server's certificate; only PSK is trusted without one. */
  readonly judge?: (lookup: CertificateLookup, now: Instant) => Verdict;
  /** Wants another socket before it resumes: says `stale` and waits for `connect`. A NAT may hold on to a dead mapping. */
  readonly freshSocket?: boolean;
};

export type DtlsRow = { readonly table: string; readonly key: string; readonly value: Uint8Array };

type LookupOutput = Extract<DtlsOutput, { type: "lookup" }>;
export type CertificateLookup = Extract<LookupOutput["lookup"], { kind: "certificate" }>;
type Verdict = { readonly ok: true } | { readonly ok: false; readonly why: string };

export type LadderTuning = {
  /** So many confirmable messages go unanswered before the session is resumed. */
  readonly unanswered: number;
  /** ms before a handshake that came to nothing is tried again; doubles up to the longest. */
  readonly firstRetry: number;
  readonly longestRetry: number;
};

export type SecureTransportInput =
  | DatagramEvent
  | { readonly type: "send"; readonly session: SessionId; readonly bytes: Uint8Array }
  /** The first way to the server, or another one. */
  | { readonly type: "connect"; readonly path: Path }
  | { readonly type: "close"; readonly session: SessionId }
  | { readonly type: "fresh"; readonly session: SessionId }
  /** Our address may be another one to the server, and it does not follow: resumes the session. */
  | { readonly type: "renew" }
  | StoredInput;

export type SecureTransportOutput =
  | DatagramEvent
  | { readonly type: "received"; readonly session: SessionId; readonly bytes: Uint8Array }
  /** Messages reach the server again, over a new association or the one that was kept. */
  | {
      readonly type: "opened";
      readonly session: SessionId;
      readonly how: "full" | "resumed" | "kept";
    }
  /** Our address is another one; the association goes on. */
  | { readonly type: "moved"; readonly session: SessionId }
  /** See `freshSocket`. */
  | { readonly type: "stale" }
  | {
      readonly type: "handshakeFailed";
      readonly why: string;
      /** undefined: when there is something to send. */
      readonly retryAt: Instant | undefined;
    }
  /** The server has gone silent at a point of the handshake that says something; it goes on. */
  | { readonly type: "handshakeStalled"; readonly why: string }
  | { readonly type: "keyLog"; readonly line: string }
  | StoreOutput;

export class SecureTransport implements Machine<SecureTransportInput, SecureTransportOutput> {
  /** All associations of this device are one session to the layers above. */
  readonly session: SessionId = 1;
  readonly #dtls: DtlsClient;
  readonly #options: ClientDtlsOptions;
  readonly #ladder: LadderTuning;
  readonly #rng: Rng;
  readonly #outbox = new Outbox<SecureTransportOutput>();
  /** What the layers above count for the session, and what associations before the present one have cost. */
  readonly #above = new Ledger();
  readonly #past = new Ledger();
  #present = new Ledger();
  #path: Path | undefined;
  #handshake: "full" | "resume" | undefined;
  /** Waits for `connect` over another socket. */
  #stale = false;
  #unanswered = 0;
  #failures = 0;
  /** The association is one of an earlier run, and the server has said nothing in it yet. */
  #unconfirmed = false;
  #retryAt: Instant | undefined;

  constructor(rng: Rng, options: ClientDtlsOptions, now: Instant) {
    const { stored = [], ladder, judge: _judge, freshSocket: _fresh, ...dtls } = options;
    this.#options = options;
    this.#rng = rng;
    this.#ladder = { ...LADDER, ...ladder };
    this.#dtls = new DtlsClient({ ...dtls, rng });
    for (const { table, key, value } of stored) {
      // Without a connection id the server knows the association by an address that is ours no more.
      if (table === TABLES.association && options.connectionId === undefined) continue;
      this.#dtls.handle({ type: "restore", table, key, value }, now);
    }
    while (this.#dtls.poll() !== undefined); // what was restored is used at `connect`
  }

  get wakeAt(): Instant | undefined {
    return earlier(this.#dtls.wakeAt, this.#retryAt);
  }

  /** Whether messages reach the server, as far as known. */
  get isOpen(): boolean {
    return this.#dtls.connected && this.#path !== undefined && this.#handshake === undefined;
  }

  /** The server knows us wherever our records come from. */
  get isFollowed(): boolean {
    return this.#dtls.isFollowed;
  }

  /** Every byte of all associations. */
  get ledger(): Ledger {
    const all = new Ledger();
    for (const part of [this.#above, this.#past, this.#present]) all.absorb(part);
    return all;
  }

  ledgerOf(_session: SessionId): Ledger {
    return this.#above;
  }

  handle(input: SecureTransportInput, now: Instant): void {
    switch (input.type) {
      case "connect":
        this.#connect(input.path, now);
        break;
      case "send":
        this.#send(input.bytes, now);
        break;
      case "renew":
        if (this.isOpen && !this.#stale && !this.isFollowed) this.#renew(now);
        break;
      case "datagram":
      case "close":
      case "fresh":
      case "stored":
        this.#dtls.handle(input, now);
        break;
      default:
        unreachable(input);
    }
    this.#settle(now);
  }

  wake(now: Instant): void {
    this.#dtls.wake(now);
    if (this.#retryAt !== undefined && this.#retryAt <= now) this.#begin("resume", now);
    this.#settle(now);
  }

  poll(): SecureTransportOutput | undefined {
    return this.#outbox.take();
  }

  #connect(path: Path, now: Instant): void {
    const first = this.#path === undefined;
    this.#path = path;
    const keeps = this.#options.connectionId !== undefined && this.#dtls.connected && !this.#stale;
    if (!keeps || this.#handshake !== undefined) return this.#begin("resume", now);
    this.#dtls.handle({ type: "rebind", path }, now);
    this.#present = this.#dtls.ledgerOf(this.session);
    const { session } = this;
    if (first) {
      this.#unconfirmed = true;
      this.#outbox.push({ type: "opened", session, how: "kept" });
    } else this.#outbox.push({ type: "moved", session });
  }

  #send(bytes: Uint8Array, now: Instant): void {
    // What is not sent now is repeated by the layer above once the new association is there.
    if (this.#handshake !== undefined || this.#stale) return;
    if (!this.#dtls.connected) return;
    if (isConfirmable(bytes)) {
      const patience = this.#unconfirmed ? 1 : this.#ladder.unanswered;
      if (this.#unanswered >= patience) return this.#renew(now);
      this.#unanswered += 1;
    }
    this.#dtls.handle({ type: "send", session: this.session, bytes }, now);
  }

  /** The association, or the way to the server, seems to be gone. */
  #renew(now: Instant): void {
    if (this.#options.freshSocket === true) {
      this.#stale = true;
      this.#outbox.push({ type: "stale" });
    } else this.#begin("resume", now);
  }

  #begin(how: "full" | "resume", now: Instant): void {
    if (this.#path === undefined) return;
    this.#retryAt = undefined;
    this.#stale = false;
    this.#handshake = how;
    this.#dtls.handle({ type: "connect", session: this.session, path: this.#path, how }, now);
  }

  #settle(now: Instant): void {
    for (let output = this.#dtls.poll(); output !== undefined; output = this.#dtls.poll()) {
      this.#fromDtls(output, now);
    }
  }

  #fromDtls(output: DtlsOutput, now: Instant): void {
    switch (output.type) {
      case "datagram":
      case "store":
      case "keyLog":
        this.#outbox.push(output);
        return;
      case "received":
        this.#received(output.bytes, output.fresh);
        return;
      case "opened":
        if (output.how !== "restored") this.#opened(output.how);
        return;
      case "failed":
        this.#failed(output.why, now);
        return;
      case "stalled":
        this.#outbox.push({ type: "handshakeStalled", why: output.why });
        return;
      case "closed":
        if (this.#handshake === undefined) this.#later(output.why, now);
        return;
      case "lookup": {
        const { id, lookup } = output;
        if (lookup.kind !== "certificate") return; // a client is asked nothing else
        const verdict = this.#options.judge?.(lookup, now) ?? UNJUDGED;
        this.#dtls.handle({ type: "verdict", id, verdict }, now);
        return;
      }
      case "moved":
      case "validated":
        return; // a server stays where it is
      default:
        unreachable(output);
    }
  }

  /** After our restart a request may be one that was obeyed before it: its sender repeats it, once we have been answered. */
  #received(bytes: Uint8Array, fresh: boolean): void {
    if (!fresh && isRequest(bytes[1] ?? 0)) {
      this.#above.drop("doubtful");
      return;
    }
    this.#unanswered = 0;
    this.#failures = 0;
    this.#unconfirmed = false;
    this.#outbox.push({ type: "received", session: this.session, bytes });
  }

  #opened(how: "full" | "resumed"): void {
    this.#past.absorb(this.#present);
    this.#present = this.#dtls.ledgerOf(this.session);
    this.#handshake = undefined;
    this.#unanswered = 0;
    this.#unconfirmed = false;
    this.#outbox.push({ type: "opened", session: this.session, how });
  }

  #failed(why: string, now: Instant): void {
    const tried = this.#handshake;
    this.#handshake = undefined;
    if (tried === "resume" && this.#dtls.resumable && why !== NO_ANSWER) {
      return this.#begin("full", now); // the server could make nothing of what was saved
    }
    if (!this.#dtls.connected) return this.#later(why, now);
    // Nobody answers; should the server come back with what it knew, the association is still good.
    this.#unanswered = 0;
    this.#outbox.push({ type: "handshakeFailed", why, retryAt: undefined });
  }

  /** At once the first time, then with growing patience until something was received. */
  #later(why: string, now: Instant): void {
    this.#failures += 1;
    const { firstRetry, longestRetry } = this.#ladder;
    const wait = Math.min(firstRetry * 2 ** Math.min(this.#failures - 1, DOUBLINGS), longestRetry);
    const retryAt = now + wait * (1 + this.#rng.float() / 4);
    this.#retryAt = retryAt;
    this.#outbox.push({ type: "handshakeFailed", why, retryAt });
  }
}

function isConfirmable(bytes: Uint8Array): boolean {
  return (((bytes[0] ?? 0) >>> 4) & 0x03) === CON;
}

const LADDER: LadderTuning = { unanswered: 3, firstRetry: 5_000, longestRetry: 3_600_000 };
const DOUBLINGS = 20;
const NO_ANSWER = "no answer";
const UNJUDGED: Verdict = { ok: false, why: "nothing says which certificate to trust" };
