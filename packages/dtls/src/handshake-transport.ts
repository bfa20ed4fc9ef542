import { EMPTY, type Instant, type Ledger, Outbox, type Purpose, type Rng } from "@godwit/base";
import type { Association } from "./association.ts";
import { Alert, ContentType } from "./codes.ts";
import { type FlightItem, packFlight } from "./flight.ts";
import { readFragments, wholeMessage } from "./handshake/header.ts";
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
  /** The peer's fatal alert or close_notify under the new keys. */
  sealedAlert: number | undefined;
  /** A message above `maxMessage` was thrown away: why the handshake came to nothing, maybe. Anybody could have sent it. */
  tooLong = false;
  /** A protected record came that does not open with our keys. Anybody could have sent it. */
  unopened = false;
  /** Next record number of epoch 0. */
  plainSequence: number;
  /** Largest plaintext the peer takes, as far as it has said. */
  limit: number = 2 ** 14;
  readonly #tuning: DtlsTuning;
  readonly #rng: Rng;
  readonly #ledger: Ledger;
  #reassembly: Reassembly;
  #sendSeq: number;
  #association: Association | undefined;
  #deferred: DtlsRecord[] = [];
  #flight: readonly FlightItem[] = [];
  #transmissions = 0;
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
    this.#timeout = options.tuning.initialTimeout;
    this.#reassembly = reassembly(options.receiveSeq, options.tuning);
  }

  get wakeAt(): Instant | undefined {
    return this.#dueAt;
  }

  /** How often the last flight was sent. */
  get transmissions(): number {
    return this.#transmissions;
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

  /** Takes in one record. Throws FormatError for a handshake record that is none. */
  receive(record: DtlsRecord, now: Instant): void {
    if (record.epoch === 0) this.#receivePlain(record, now);
    else if (record.epoch === 1) this.#receiveSealed(record, now);
    else this.#ledger.drop("epoch");
  }

  /** The next message in order. It joins the transcript when the caller says `note`. */
  take(): Message | undefined {
    return this.#reassembly.take();
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
    this.#transmissions = 0;
    this.plainAlert = undefined;
    this.#timeout = this.#tuning.initialTimeout;
    this.#transmit(now);
    if (last) this.#dueAt = undefined;
  }

  /** The peer answered: nothing to repeat until the next flight. */
  settled(): void {
    this.#dueAt = undefined;
    this.plainAlert = undefined;
  }

  /** Runs the retransmission timer; false when the peer has been given up. */
  wake(now: Instant): boolean {
    if (this.#dueAt === undefined || this.#dueAt > now) return true;
    // Anybody could have sent the alert, so it only ends what did not go on in the meantime.
    if (this.plainAlert !== undefined) return false;
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
        return; // says nothing that the epoch of the next record does not say, and has no number to order it by
      case ContentType.alert:
        if (record.fragment.length === 2 && record.fragment[0] === FATAL) {
          this.plainAlert = record.fragment[1];
        }
        this.#ledger.drop("plainAlert");
        return;
      default:
        this.#ledger.drop("plainContent");
    }
  }

  #receiveSealed(record: DtlsRecord, now: Instant): void {
    const association = this.#association;
    if (association === undefined) {
      if (this.#deferred.length >= this.#tuning.maxDeferred)
        return this.#ledger.drop("deferredFull");
      if (record.fragment.length > MAX_DEFERRED_RECORD) return this.#ledger.drop("deferredFull");
      this.#deferred.push({
        ...record,
        cid: Uint8Array.from(record.cid),
        fragment: Uint8Array.from(record.fragment),
      });
      return undefined;
    }
    const received = association.open(record);
    if (!received.ok) {
      this.unopened = true;
      return this.#ledger.drop(received.why);
    }
    switch (received.type) {
      case ContentType.handshake:
        return this.#fragments(received.content, 1, now);
      case ContentType.applicationData:
        if (this.early.length >= this.#tuning.maxDeferred) return this.#ledger.drop("deferredFull");
        this.early.push({ content: received.content, record: { ...record, fragment: EMPTY } });
        return undefined;
      case ContentType.alert:
        if (received.content[0] === FATAL || received.content[1] === Alert.closeNotify) {
          this.sealedAlert = received.content[1];
        }
        return undefined;
      default:
        return this.#ledger.drop("innerType");
    }
  }

  #fragments(content: Uint8Array, epoch: number, now: Instant): void {
    let repeated = false;
    for (const fragment of readFragments(content)) {
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
      this.#tuning.coalesce,
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
    tuning.coalesce,
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
