import {
  FormatError,
  type Identity,
  type Instant,
  type Ledger,
  Outbox,
  type Path,
  type Rng,
  type SessionId,
  equalSecret,
  sha256,
} from "@godwit/base";
import type { Association, AssociationState } from "./association.ts";
import { Alert, HandshakeType } from "./codes.ts";
import type { Generation, Lookup } from "./credentials.ts";
import type { Established } from "./established.ts";
import type { DtlsOutput, FailureReason } from "./events.ts";
import type { FlightItem } from "./flight.ts";
import { type HandshakeEffect, identityOf } from "./handshake-effect.ts";
import { HandshakeTransport } from "./handshake-transport.ts";
import { type CertificateMessage, decodeCertificate } from "./handshake/certificate.ts";
import {
  type Randoms,
  extendedMasterSecret,
  keyBlock,
  plainMasterSecret,
  verifyData,
} from "./keys.ts";
import type { Message } from "./reassembly.ts";
import type { DtlsRecord } from "./record/header.ts";
import { alertFor, demand } from "./refusal.ts";
import type { SavedSession } from "./saved-session.ts";
import type { Suite } from "./suites.ts";
import type { DtlsTuning } from "./tuning.ts";

/** What handshakes of both sides need of the machine around them. */
export type SharedSetup = {
  readonly tuning: DtlsTuning;
  readonly rng: Rng;
  /** Whether the peer at `path` may be told `alert`, of a handshake that came to nothing. */
  mayAlert(path: Path, alert: number, now: Instant): boolean;
  associate(state: AssociationState, ledger: Ledger): Association;
};

/** States that both sides have. */
export type SharedState = "hello" | "confirm" | "done" | "failed";

/**
 * What client and server do alike in a handshake: they take messages in turn while their state receives, end for what the peer
 * did wrong with the alert for it, make keys, and prove themselves by Finished.
 */
export abstract class HandshakeBase<State extends string> {
  readonly path: Path;
  readonly ledger: Ledger;
  readonly transport: HandshakeTransport;
  readonly effects: Outbox<HandshakeEffect> = new Outbox();
  /** What the finished handshake leaves for a later one; undefined where there is nothing to resume it by. */
  session: SavedSession | undefined;
  resumed = false;
  /** Of the credential by which the peer proves itself. */
  generation: Generation = 0;
  /** When the peer last said something that the handshake went on by, or when it began. */
  wentOnAt: Instant;
  protected state: State | SharedState = "hello";
  protected suite: Suite | undefined;
  /** RFC 7627 was agreed on. */
  protected extended = false;
  protected peerCid: Uint8Array = new Uint8Array(0);
  protected peerLimit: number = 2 ** 14;
  protected routability = false;
  protected certificate: CertificateMessage | undefined;
  protected identity: Identity = { kind: "none" };
  /** message_seq of the peer's Finished. */
  protected peerFinished = 0;
  #badMessages = 0;
  readonly #side: "client" | "server";
  readonly #shared: SharedSetup;
  readonly #receiving: ReadonlySet<State | SharedState>;

  /** `receiving`: states in which the next message is taken. */
  protected constructor(
    side: "client" | "server",
    setup: SharedSetup,
    receiving: ReadonlySet<State | SharedState>,
    path: Path,
    ledger: Ledger,
    first: { readonly messageSeq: number; readonly sequence: number },
    now: Instant,
  ) {
    this.wentOnAt = now;
    this.#side = side;
    this.#shared = setup;
    this.#receiving = receiving;
    this.path = path;
    this.ledger = ledger;
    this.transport = new HandshakeTransport({
      tuning: setup.tuning,
      rng: setup.rng,
      ledger,
      receiveSeq: first.messageSeq,
      sendSeq: first.messageSeq,
      plainSequence: first.sequence,
    });
  }

  get wakeAt(): Instant | undefined {
    return this.transport.wakeAt;
  }

  get association(): Association | undefined {
    return this.transport.association;
  }

  /** It is the peer's turn. */
  get waits(): boolean {
    return this.#receiving.has(this.state);
  }

  /** Whom the peer says to be; proven once the handshake is through. */
  get claimed(): Identity {
    return this.identity;
  }

  get done(): boolean {
    return this.state === "done" || this.state === "failed";
  }

  /** Takes in one record. False: it does not verify, or has a message that anybody could have sent and the peer would not. */
  receive(record: DtlsRecord, now: Instant): boolean {
    if (this.done) return true;
    if (!this.transport.receive(record, now)) return false;
    const before = this.#badMessages;
    this.#run(now);
    return this.#badMessages === before;
  }

  /** Lets the datagrams that wait go out, counted. */
  sendAll(outbox: Outbox<DtlsOutput>): void {
    const { datagrams } = this.transport;
    for (let next = datagrams.take(); next; next = datagrams.take()) {
      this.ledger.datagram("out");
      this.ledger.add("out", next.purpose, next.bytes.length);
      outbox.push({ type: "datagram", path: this.path, bytes: next.bytes });
    }
  }

  /** Tells the layer above that the association is there, and what came over it meanwhile. */
  announce(
    association: Association,
    established: Established,
    outbox: Outbox<DtlsOutput>,
    guest = false,
  ): void {
    if (this.resumed) association.ledger.resumedHandshakes += 1;
    else association.ledger.fullHandshakes += 1;
    const { session, identity } = association;
    const how = this.resumed ? "resumed" : "full";
    outbox.push({ type: "opened", session, identity, how, ...(guest && { guest }) });
    for (const { content } of this.transport.early) established.deliver(association, content);
  }

  /** Ends the handshake for a reason of ours, telling the peer. */
  abort(alert: number, why: string): void {
    if (this.done) return;
    this.transport.alert(alert, this.sealsAlerts && this.association !== undefined);
    this.end(why);
  }

  /** The peer can read an alert under the new keys. */
  protected abstract get sealsAlerts(): boolean;

  /** One message in its turn and in the right epoch. */
  protected abstract message(message: Message, now: Instant): void;

  /** Ends it because the peer said nothing more. `unanswered`: what that means here. */
  protected giveUp(unanswered = "no answer"): void {
    const { refused, plainAlert, lacksChange } = this.transport;
    if (refused !== undefined) this.end(refused);
    else if (plainAlert !== undefined) this.end(`peer's alert ${plainAlert}`, "alert");
    else if (lacksChange) this.end("no ChangeCipherSpec before Finished");
    else this.end(unanswered, "noAnswer");
  }

  /** Runs a step; what the peer did wrong ends the handshake with the alert for it. */
  protected guard(now: Instant, step: () => void): void {
    const before = this.state;
    try {
      step();
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      const alert = alertFor(error);
      if (this.#shared.mayAlert(this.path, alert, now)) this.transport.alert(alert, false);
      this.end(error.message);
      return;
    }
    if (!this.#receiving.has(before) && this.#receiving.has(this.state)) this.#run(now);
  }

  protected end(why: string, reason: FailureReason = "protocol"): void {
    this.state = "failed";
    this.effects.push({ type: "failed", why, reason });
  }

  /** Waits for the answer in `state`. */
  protected lookup(state: State, lookup: Lookup): void {
    this.state = state;
    this.effects.push({ type: "lookup", lookup });
  }

  /** Notes what the peer shows of itself; that it holds the key of it is still to be proven. */
  protected takeCertificate(message: Message, kind: "rpk" | "x509", alert: number): void {
    const certificate = decodeCertificate(kind, message.body);
    const shown = certificate.kind === "rpk" || certificate.chain.length > 0;
    demand(shown, alert, `${this.#peer} shows no certificate`);
    this.identity = identityOf(certificate);
    this.certificate = certificate;
    this.transport.note(message);
  }

  /** The master secret of a full handshake, with all messages up to ClientKeyExchange noted. */
  protected masterOf(premaster: Uint8Array, randoms: Randoms): Uint8Array {
    return this.extended
      ? extendedMasterSecret(premaster, sha256(...this.transport.transcript))
      : plainMasterSecret(premaster, randoms);
  }

  /** Makes the keys: from here on records of epoch 1 can be read and written. */
  protected establish(
    master: Uint8Array,
    randoms: Randoms,
    own: {
      readonly session: SessionId;
      readonly ownCid: Uint8Array;
      readonly sessionId: Uint8Array;
    },
    now: Instant,
  ): void {
    const { suite, identity, generation, path, peerCid, peerLimit, routability } = this;
    if (suite === undefined) return;
    const keys = keyBlock(suite.cipher, master, randoms);
    const isClient = this.#side === "client";
    const association = this.#shared.associate(
      {
        ...own,
        suite,
        identity,
        generation,
        path,
        peerCid,
        readKeys: isClient ? keys.server : keys.client,
        writeKeys: isClient ? keys.client : keys.server,
        peerLimit,
        routability,
      },
      this.ledger,
    );
    this.transport.activate(association, now);
  }

  /** The peer's hello has a connection id, or has none. Who knows RFC 9146 takes several messages in one record. */
  protected modern(hasConnectionId: boolean): void {
    if (this.#shared.tuning.coalesce === "modern") this.transport.coalesces = hasConnectionId;
  }

  protected finishedMessage(master: Uint8Array): FlightItem {
    const body = verifyData(master, this.#side, this.transport.transcript);
    return this.transport.message(HandshakeType.finished, body, 1);
  }

  /** The peer has proven that it has the keys and saw the same messages. */
  protected checkFinished(message: Message, master: Uint8Array): void {
    const wanted = verifyData(master, this.#peer, this.transport.transcript);
    const proven = equalSecret(wanted, message.body);
    demand(proven, Alert.decryptError, `${this.#peer}'s Finished is wrong`);
    this.transport.note(message);
    this.transport.settled();
    this.peerFinished = message.messageSeq;
  }

  /** Waits for `confirm`, which sends our last flight where we have one. */
  protected verified(): void {
    this.state = "confirm";
    this.effects.push({ type: "verified" });
  }

  /** Sends the flight that ends the handshake, and keeps it for a peer that asks for it again. */
  protected sendLast(flight: readonly FlightItem[], association: Association, now: Instant): void {
    this.transport.send(flight, now, true);
    association.lastFlight = {
      items: flight,
      asksAgain: this.peerFinished,
      until: now + this.#shared.tuning.lastFlightKept,
      plainSequence: this.transport.plainSequence,
      sentAt: now,
    };
  }

  get #peer(): "client" | "server" {
    return this.#side === "client" ? "server" : "client";
  }

  #run(now: Instant): void {
    while (this.#receiving.has(this.state)) {
      const message = this.transport.take();
      if (message === undefined) break;
      this.#step(message, now);
    }
    if (this.transport.sealedAlert !== undefined && !this.done) {
      this.end(`peer's alert ${this.transport.sealedAlert}`, "alert");
    }
  }

  /**
   * What was sealed is the peer's word, and so is a hello that brought a cookie. Anything else anybody could have sent: what is
   * wrong with it is told, and the peer's own message may still come.
   */
  #step(message: Message, now: Instant): void {
    if (this.#side === "client" && message.type === HandshakeType.helloRequest) {
      this.transport.putBack(); // RFC 5246 7.4.1.1: ignored
      return;
    }
    const isCookied = this.#side === "server" && this.state === "hello";
    if (message.epoch > 0 || isCookied) {
      this.guard(now, () => this.#take(message, now));
      return;
    }
    const { state } = this;
    const noted = this.transport.transcript.length;
    try {
      this.#take(message, now);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.#badMessages += 1;
      this.state = state;
      this.transport.transcript.length = noted;
      const alert = alertFor(error);
      const told = this.#shared.mayAlert(this.path, alert, now) ? alert : undefined;
      this.transport.refuse(told, error.message, now);
    }
  }

  #take(message: Message, now: Instant): void {
    const sealed = message.type === HandshakeType.finished;
    demand(message.epoch === (sealed ? 1 : 0), Alert.unexpectedMessage, "message in a wrong epoch");
    this.message(message, now);
    this.wentOnAt = now;
  }
}

/** Ends the handshake unless the message is of this type. */
export function expect(message: Message, type: number): void {
  demand(message.type === type, Alert.unexpectedMessage, `message ${message.type} out of turn`);
}
