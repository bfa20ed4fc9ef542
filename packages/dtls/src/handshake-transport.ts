import { EMPTY, type Instant, type Ledger, Outbox, type Purpose, type Rng } from "@godwit/base";
import type { Association } from "./association.ts";
import { Alert, ContentType } from "./codes.ts";
import { type FlightItem, packFlight } from "./flight.ts";
import { scanFragments, wholeMessage } from "./handshake/header.ts";
import { type Message, Reassembly } from "./reassembly.ts";
import { type DtlsRecord, HEADER, plainRecord } from "./record/header.ts";
import type { DtlsTuning } from "./tuning.ts";

/**
 * What client and server handshakes share: message numbers, reassembly, the transcript, flights with their timer, and
 * the change from epoch 0 to epoch 1. Knows no message's meaning.
 */
export class HandshakeTransport {
  /** Messages so far, as the hashes take them (RFC 6347 4.2.6). */
  readonly transcript: Uint8Array[] = [];
  /** Datagrams to send. */
  readonly datagrams: Outbox<{ readonly bytes: Uint8Array; readonly purpose: Purpose }> =
    new Outbox();
  /** Application data that came, verified, before the handshake was through. */
  readonly early: { readonly content: Uint8Array; readonly record: DtlsRecord }[] = [];
  /** The peer's fatal alert, not authenticated: a hint, no command. */
  plainAlert: number | undefined;
  /** What was wrong with a message in the clear that was thrown away, as anybody could have sent it. */
  refused: string | undefined;
  /** The peer has sent ChangeCipherSpec: what is sealed may be taken from now on (RFC 5246 7.1). */
  cipherChanged = false;
  /** The peer's fatal alert or close_notify under the new keys. */
  sealedAlert: number | undefined;
  /** A message above `maxMessage` was thrown away: why the handshake came to nothing, maybe. Anybody could have sent it. */
  tooLong = false;
  /** Fragments that were looked at, for who bounds how many one datagram may have. */
  fragments = 0;
  /** Next record number of epoch 0. */
  plainSequence: number;
  /** Largest plaintext the peer takes, as far as it has said. */
  limit: number = 2 ** 14;
  /** The peer takes several handshake messages in one record, as far as known. */
  coalesces: boolean;
  readonly #tuning: DtlsTuning;
  readonly #rng: Rng;
  readonly #ledger: Ledger;
  #reassembly: Reassembly;
  #sendSeq: number;
  #association: Association | undefined;
  #deferred: DtlsRecord[] = [];
  #flight: readonly FlightItem[] = [];
  #transmissions = 0;
  /** How often the flight had gone out when the first sign came that the peer will not go on. */
  #doubtedAt: number | undefined;
  #alertedAt: Instant = -Infinity;
  #sentAt: Instant = -Infinity;
  #dueAt: Instant | undefined;
  #timeout: number;

  constructor(options: {
    readonly tuning: DtlsTuning;
    readonly rng: Rng;
    readonly ledger: Ledger;
    /** First message_seq to receive and to send. */
    readonly receiveSeq: number;
    readonly sendSeq: number;
    /** First record number of epoch 0. */
    readonly plainSequence: number;
  }) {
    this.#tuning = options.tuning;
    this.#rng = options.rng;
    this.#ledger = options.ledger;
    this.#sendSeq = options.sendSeq;
    this.plainSequence = options.plainSequence;
    this.coalesces = options.tuning.coalesce === "always";
    this.#timeout = options.tuning.initialTimeout;
    this.#reassembly = reassembly(options.receiveSeq, options.tuning);
  }

  get wakeAt(): Instant | undefined {
    return this.#dueAt;
  }

  get association(): Association | undefined {
    return this.#association;
  }

  /** message_seq of the next message to come. */
  get receiveSeq(): number {
    return this.#reassembly.next;
  }

  /** From here on records of epoch 1 can be opened and written. */
  activate(association: Association, now: Instant): void {
    this.#association = association;
    const deferred = this.#deferred;
    this.#deferred = [];
    for (const record of deferred) this.receive(record, now);
  }

  /** Takes in one record. False: it does not verify. */
  receive(record: DtlsRecord, now: Instant): boolean {
    if (record.epoch === 1) return this.#receiveSealed(record, now);
    if (record.epoch === 0) this.#receivePlain(record, now);
    else this.#ledger.drop("epoch");
    return record.epoch === 0;
  }

  /** The next message in order. It joins the transcript when the caller says `note`. */
  take(): Message | undefined {
    return this.lacksChange ? undefined : this.#reassembly.take();
  }

  /** A sealed message waits for the ChangeCipherSpec that has to come before it. */
  get lacksChange(): boolean {
    return !this.cipherChanged && this.#reassembly.nextEpoch === 1;
  }

  /** The message that `take` gave last is as good as lost: the peer's own may come in its place. */
  putBack(): void {
    this.#reassembly.putBack();
  }

  /** As `putBack`, and the peer is told why, in case that it was the peer's. */
  refuse(alert: number | undefined, why: string, now: Instant): void {
    this.putBack();
    this.refused = why;
    this.#doubt();
    if (alert === undefined || now - this.#alertedAt < this.#tuning.resendGap) return;
    this.#alertedAt = now;
    this.alert(alert, false);
  }

  note(message: Message): void {
    this.transcript.push(message.raw);
  }

  /** Begins the transcript anew: the first ClientHello and HelloVerifyRequest are not part of it. */
  forget(): void {
    this.transcript.length = 0;
  }

  /** Numbers a message of ours, puts it into the transcript, and gives it back for a flight. */
  message(type: number, body: Uint8Array, epoch: 0 | 1 = 0): FlightItem {
    const bytes = wholeMessage(type, this.#sendSeq++, body);
    this.transcript.push(bytes);
    return { epoch, type: ContentType.handshake, bytes };
  }

  /** Sends a flight; it is repeated until `settled`, unless it is the last one. */
  send(flight: readonly FlightItem[], now: Instant, last = false): void {
    this.#flight = flight;
    this.#reassembly.forget(); // an answer to this cannot have come: it answers an earlier attempt, or is forged
    this.#transmissions = 0;
    this.#goesOn();
    this.#timeout = this.#tuning.initialTimeout;
    this.#transmit(now);
    if (last) this.#dueAt = undefined;
  }

  /** The peer answered: nothing to repeat until the next flight. */
  settled(): void {
    this.#dueAt = undefined;
    this.#goesOn();
  }

  /** Runs the retransmission timer; false when the peer has been given up. */
  wake(now: Instant): boolean {
    if (this.#dueAt === undefined || this.#dueAt > now) return true;
    // Anybody could have sent the alert or the bad message, so it only ends what does not go on however often we ask.
    const { alertPatience } = this.#tuning;
    if (this.#transmissions - (this.#doubtedAt ?? Infinity) >= alertPatience) return false;
    if (this.#transmissions >= this.#tuning.maxTransmissions) return false;
    this.#timeout = Math.min(this.#timeout * 2, this.#tuning.maxTimeout);
    this.#transmit(now);
    return true;
  }

  /** One fatal alert in the clear; or under the keys where they are in use for writing. */
  alert(code: number, sealed: boolean): void {
    const body = Uint8Array.of(FATAL, code);
    const association = this.#association;
    const bytes =
      sealed && association !== undefined
        ? association.seal(ContentType.alert, body, this.#rng, this.#tuning.padTo)
        : plainRecord(ContentType.alert, this.plainSequence++, body);
    this.datagrams.push({ bytes, purpose: "handshake" });
  }

  /** The flight that the peer may ask for again once the handshake is through. */
  get flight(): readonly FlightItem[] {
    return this.#flight;
  }

  get sentAt(): Instant {
    return this.#sentAt;
  }

  #receivePlain(record: DtlsRecord, now: Instant): void {
    switch (record.type) {
      case ContentType.handshake:
        this.#fragments(record.fragment, 0, now);
        return;
      case ContentType.changeCipherSpec:
        // It has no number to order it by. What it says is believed once Finished verifies.
        if (record.fragment.length === 1 && record.fragment[0] === 1) this.cipherChanged = true;
        return;
      case ContentType.alert:
        if (record.fragment.length === 2 && record.fragment[0] === FATAL) {
          this.plainAlert = record.fragment[1];
          this.#doubt();
        }
        this.#ledger.drop("plainAlert");
        return;
      default:
        this.#ledger.drop("plainContent");
    }
  }

  #doubt(): void {
    this.#doubtedAt ??= this.#transmissions;
  }

  /** The peer has shown that it goes on. */
  #goesOn(): void {
    this.plainAlert = undefined;
    this.refused = undefined;
    this.#doubtedAt = undefined;
  }

  #receiveSealed(record: DtlsRecord, now: Instant): boolean {
    const association = this.#association;
    if (association === undefined) {
      this.#defer(record);
      return true;
    }
    const received = association.open(record);
    if (received.ok) this.#opened(received.type, received.content, record, now);
    else this.#ledger.drop(received.why);
    return received.ok;
  }

  #defer(record: DtlsRecord): void {
    const isFull = this.#deferred.length >= this.#tuning.maxDeferred;
    if (isFull || record.fragment.length > MAX_DEFERRED_RECORD) {
      return this.#ledger.drop("deferredFull");
    }
    this.#deferred.push({
      ...record,
      cid: Uint8Array.from(record.cid),
      fragment: Uint8Array.from(record.fragment),
    });
    return undefined;
  }

  #opened(type: number, content: Uint8Array, record: DtlsRecord, now: Instant): void {
    switch (type) {
      case ContentType.handshake:
        return this.#fragments(content, 1, now);
      case ContentType.applicationData:
        if (this.early.length >= this.#tuning.maxDeferred) return this.#ledger.drop("deferredFull");
        this.early.push({ content, record: { ...record, fragment: EMPTY } });
        return undefined;
      case ContentType.alert:
        if (content[0] === FATAL || content[1] === Alert.closeNotify) this.sealedAlert = content[1];
        return undefined;
      default:
        return this.#ledger.drop("innerType");
    }
  }

  #fragments(content: Uint8Array, epoch: number, now: Instant): void {
    const fragments = scanFragments(content);
    // Anybody could have sent it: no reason to stop.
    if (typeof fragments === "string") return this.#ledger.drop("badHandshakeRecord");
    this.fragments += fragments.length;
    let repeated = false;
    for (const fragment of fragments) {
      const outcome = this.#reassembly.add(fragment, epoch);
      if (outcome === "kept") continue;
      if (outcome === "repeated") repeated = true;
      if (outcome === "tooLong") this.tooLong = true;
      this.#ledger.drop(outcome);
    }
    // RFC 6347 4.2.4: a flight that comes again was not answered, or the answer was lost.
    if (repeated && this.#dueAt !== undefined && now - this.#sentAt >= this.#tuning.resendGap) {
      this.#transmit(now);
    }
    return undefined;
  }

  #transmit(now: Instant): void {
    const mtus = this.#tuning.mtus;
    const step = Math.min(Math.floor(this.#transmissions / 2), mtus.length - 1);
    const purpose = this.#transmissions === 0 ? "handshake" : "retransmission";
    this.#transmissions += 1;
    this.#sentAt = now;
    this.#dueAt = now + this.#timeout;
    for (const bytes of this.pack(this.#flight, mtus[step]!)) {
      this.datagrams.push({ bytes, purpose }); // step is within
    }
  }

  /** Makes datagrams of a flight under fresh record numbers. */
  pack(flight: readonly FlightItem[], mtu: number): Uint8Array[] {
    const association = this.#association;
    return packFlight(
      flight,
      {
        seal: (epoch, type, content) =>
          epoch === 1 && association !== undefined
            ? association.seal(type, content, this.#rng, this.#tuning.padTo)
            : plainRecord(type, this.plainSequence++, content),
        overhead: (epoch) =>
          epoch === 1 && association !== undefined ? association.overhead(0) : HEADER,
        limit: this.limit,
      },
      mtu,
      this.coalesces,
    );
  }
}

/** Sends our last flight once more, long after its handshake is gone. */
export function repackLastFlight(
  association: Association,
  rng: Rng,
  tuning: DtlsTuning,
): Uint8Array[] {
  const last = association.lastFlight;
  if (last === undefined) return [];
  return packFlight(
    last.items,
    {
      seal: (epoch, type, content) =>
        epoch === 1
          ? association.seal(type, content, rng, tuning.padTo)
          : plainRecord(type, last.plainSequence++, content),
      overhead: (epoch) => (epoch === 1 ? association.overhead(0) : HEADER),
      limit: association.peerLimit,
    },
    tuning.mtus[0],
    false, // its handshake messages are of different epochs
  );
}

export const CHANGE_CIPHER_SPEC: FlightItem = {
  epoch: 0,
  type: ContentType.changeCipherSpec,
  bytes: Uint8Array.of(1),
};

function reassembly(next: number, tuning: DtlsTuning): Reassembly {
  return new Reassembly(next, {
    maxMessage: tuning.maxMessage,
    maxAhead: tuning.maxAhead,
    maxBytes: tuning.maxReassembly,
    maxPieces: tuning.maxPieces,
  });
}

const FATAL = 2;
/** A Finished with padding, or a little early data. */
const MAX_DEFERRED_RECORD = 2_048;
