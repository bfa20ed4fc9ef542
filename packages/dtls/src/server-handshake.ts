import {
  EMPTY,
  type Instant,
  type Ledger,
  type Path,
  type SessionId,
  equal,
  fromUtf8,
  unreachable,
  utf8,
} from "@godwit/base";
import {
  Alert,
  DTLS_1_2,
  ECDSA_SHA256,
  EMPTY_RENEGOTIATION_INFO_SCSV,
  ExtensionType,
  Group,
  HandshakeType,
} from "./codes.ts";
import type { Certificate, ServerCredentials, Verdict } from "./credentials.ts";
import type { FailureReason } from "./events.ts";
import { type Ephemeral, ephemeral, signEcdsa, verifyEcdsa } from "./crypto.ts";
import type { HelloMark } from "./hello-mark.ts";
import type { FlightItem } from "./flight.ts";
import { HandshakeBase, type SharedSetup, type SharedState, expect } from "./handshake-base.ts";
import { peerLimit, spkiOf } from "./handshake-effect.ts";
import { CHANGE_CIPHER_SPEC } from "./handshake-transport.ts";
import {
  type CertificateMessage,
  ECDSA_SIGN,
  certificateTypeOf,
  encodeCertificate,
  encodeCertificateRequest,
} from "./handshake/certificate.ts";
import { type ClientHello, type HelloStart, decodeClientHello } from "./handshake/client-hello.ts";
import {
  type Extension,
  certificateType,
  connectionId,
  findExtension,
  flag,
  hasFlag,
  maxFragmentLength,
  recordSizeLimit,
  renegotiationInfo,
  serverName,
} from "./handshake/extensions.ts";
import { type Fragment, isWhole } from "./handshake/header.ts";
import {
  decodeCertificateVerify,
  decodeClientKeyExchange,
  encodeServerKeyExchange,
  shareBytes,
} from "./handshake/key-exchange.ts";
import { encodeNewSessionTicket } from "./handshake/new-session-ticket.ts";
import { encodeServerHello } from "./handshake/server-hello.ts";
import { type Randoms, decoyKey, pskPremaster } from "./keys.ts";
import type { Message } from "./reassembly.ts";
import { demand } from "./refusal.ts";
import type { SavedSession } from "./saved-session.ts";
import { chooseSuite, clientKindFor, groupFor } from "./server-choice.ts";
import { type Suite, needsEncryptThenMac } from "./suites.ts";

/** What a server's handshakes share. */
export type ServerSetup = SharedSetup & {
  readonly credentials: ServerCredentials;
  /** Suites in order of our preference. */
  readonly suites: readonly Suite[];
  /** Tickets are given to clients that want them. */
  readonly tickets: boolean;
  findSession(hello: ClientHello, now: Instant): SavedSession | undefined;
  sealTicket(session: SavedSession): Uint8Array | undefined;
  /** A connection id that nobody else has, held for this handshake. */
  takeCid(handshake: ServerHandshake): Uint8Array;
  takeSession(): SessionId;
};

/**
 * One handshake, from a ClientHello with a valid cookie to the client's verified Finished.
 *
 *   full     hello > [certificate] > keyExchange > lookupKey > [certificateVerify > lookupPeer] > finished > confirm > done
 *   resumed  hello > lookupResume > finished > confirm > done
 *
 *   ClientHello            -->
 *                          <--  ServerHello [Certificate ServerKeyExchange CertificateRequest] ServerHelloDone
 *   [Certificate] ClientKeyExchange [CertificateVerify] CCS Finished  -->
 *                          <--  [NewSessionTicket] CCS Finished                                  RFC 6347 4.2.4
 */
export class ServerHandshake extends HandshakeBase<State> {
  readonly clientRandom: Uint8Array;
  /** The ClientHello: its repetition is told from a new attempt by it. */
  readonly mark: HelloMark;
  /** The ClientHello came in one fragment. */
  readonly #whole: boolean;
  /** The connection id held for this handshake. */
  ownCid: Uint8Array = EMPTY;
  readonly #setup: ServerSetup;
  #hello: ClientHello | undefined;
  #serverName = "";
  #randoms: Randoms = { client: EMPTY, server: EMPTY };
  #withTicket = false;
  #sessionId: Uint8Array = EMPTY;
  #ephemeral: Ephemeral | undefined;
  #clientKind: "rpk" | "x509" | undefined;
  #agreed: Uint8Array | undefined;
  #resume: SavedSession | undefined;
  /** What is wrong with the peer's key unless its Finished verifies. */
  #doubt: "unknownIdentity" | "wrongKey" | undefined;
  #refused = false;
  /** `doubtfulKey` was put out. */
  reported = false;
  /** How many the peer began before it, one upon the other. */
  attempt = 0;

  /** `first`: the ClientHello. A server without memory goes on from its numbers (RFC 6347 4.2.1). */
  constructor(
    setup: ServerSetup,
    path: Path,
    first: {
      readonly start: HelloStart;
      readonly fragment: Fragment;
      readonly mark: HelloMark;
      /** Of the record. */
      readonly sequence: number;
    },
    ledger: Ledger,
    now: Instant,
  ) {
    const { messageSeq } = first.fragment;
    const { sequence } = first;
    super("server", setup, RECEIVING, path, ledger, { messageSeq, sequence }, now);
    this.#setup = setup;
    this.clientRandom = Uint8Array.from(first.start.random);
    this.mark = first.mark;
    this.#whole = isWhole(first.fragment);
    this.transport.send([], now); // nothing to say yet, but the clock runs
  }

  /** Whether a ClientHello is the one that this handshake is for, maybe cut into other fragments. */
  isFor(mark: HelloMark, fragment: Fragment, start: HelloStart): boolean {
    if (mark.equals(this.mark.high, this.mark.low)) return true;
    return !(this.#whole && isWhole(fragment)) && equal(this.clientRandom, start.random);
  }

  wake(now: Instant): void {
    if (!this.done && !this.transport.wake(now)) this.giveUp();
  }

  /** It ends before its time, for `why`, unless more is known of what went wrong. */
  giveWay(why: string): void {
    if (!this.done) this.giveUp(why);
  }

  protected override giveUp(unanswered?: string): void {
    const { tooLong, refused } = this.transport;
    const { maxMessage } = this.#setup.tuning;
    const { doubtfulKey } = this;
    if (doubtfulKey !== undefined) this.end(DOUBTS[doubtfulKey], doubtfulKey);
    else if (tooLong && refused === undefined) {
      this.end(`chain too long, or another message: above ${maxMessage} bytes`);
    } else super.giveUp(unanswered);
  }

  /**
   * Set once the peer has sent something under its key that ours does not open. It is for our own side to know at once;
   * the peer is told nothing, and waits as long whichever it is (RFC 4279 2).
   */
  get doubtfulKey(): "unknownIdentity" | "wrongKey" | undefined {
    return this.transport.unopened ? this.#doubt : undefined;
  }

  protected override end(why: string, reason: FailureReason = "protocol"): void {
    super.end(why, this.#refused ? "notAdmitted" : reason);
  }

  /** Answers the look-up of a key; undefined where nobody has that identity. */
  key(key: Uint8Array | undefined, now: Instant): void {
    if (this.state !== "lookupKey") return;
    // No oracle: an unknown identity goes the same way as a wrong key, to a Finished that does not verify.
    this.#doubt = key === undefined ? "unknownIdentity" : "wrongKey";
    const psk = key ?? decoyKey(this.#setup.rng);
    this.guard(now, () => this.#derive(pskPremaster(psk, this.#agreed), now));
  }

  verdict(verdict: Verdict, now: Instant): void {
    const state = this.state;
    if (state === "lookupResume") {
      this.guard(now, () => {
        if (!verdict.ok) return this.#full(now);
        return this.#resumeSession(now);
      });
    } else if (state === "lookupPeer") {
      this.guard(now, () => {
        this.#refused = !verdict.ok;
        if (!verdict.ok) demand(false, verdict.alert ?? Alert.certificateUnknown, verdict.why);
        this.#recognize(verdict);
        this.state = "finished";
      });
    }
  }

  /** The association is safe: the client may know that the handshake is through. */
  confirm(now: Instant): void {
    const association = this.association;
    if (this.state !== "confirm" || association === undefined) return;
    this.state = "done";
    if (this.resumed) return;
    const { transport, session } = this;
    const flight: FlightItem[] = [];
    if (this.#withTicket && session !== undefined) {
      const ticket = this.#setup.sealTicket(session) ?? EMPTY;
      const lifetime = Math.floor(this.#setup.tuning.sessionLifetime / 1_000);
      const body = encodeNewSessionTicket({ lifetime, ticket });
      flight.push(transport.message(HandshakeType.newSessionTicket, body));
    }
    flight.push(CHANGE_CIPHER_SPEC, this.finishedMessage(session?.master ?? EMPTY));
    this.sendLast(flight, association, now);
  }

  protected get sealsAlerts(): boolean {
    return this.resumed;
  }

  protected message(message: Message, now: Instant): void {
    switch (this.state) {
      case "hello":
        expect(message, HandshakeType.clientHello);
        return this.#clientHello(message, now);
      case "certificate":
        expect(message, HandshakeType.certificate);
        return this.#clientCertificate(message);
      case "keyExchange":
        expect(message, HandshakeType.clientKeyExchange);
        return this.#clientKeyExchange(message, now);
      case "certificateVerify":
        expect(message, HandshakeType.certificateVerify);
        return this.#certificateVerify(message);
      case "finished":
        expect(message, HandshakeType.finished);
        return this.#finished(message);
      case "lookupResume":
      case "lookupKey":
      case "lookupPeer":
      case "confirm":
      case "done":
      case "failed":
        return undefined; // no message is taken in these
      default:
        return unreachable(this.state);
    }
  }

  #clientHello(message: Message, now: Instant): void {
    const hello = decodeClientHello(message.body);
    // DTLS versions count downwards, and begin with 0xfe.
    const knows = hello.version >>> 8 === DTLS_1_2 >>> 8 && hello.version <= DTLS_1_2;
    demand(knows, Alert.protocolVersion, "client knows no DTLS 1.2");
    this.#hello = hello;
    this.#serverName = serverName.read(hello.extensions) ?? "";
    this.extended = hasFlag(hello.extensions, ExtensionType.extendedMasterSecret);
    demand(
      this.extended || !this.#setup.tuning.requireExtendedMasterSecret,
      Alert.handshakeFailure,
      "client has no extended master secret",
    );
    this.transport.note(message);
    this.#randoms = { client: hello.random, server: this.#setup.rng.bytes(32) };
    const saved = this.#setup.findSession(hello, now);
    if (saved !== undefined && this.#resumable(saved, hello)) {
      this.#resume = saved;
      this.lookup("lookupResume", {
        kind: "resume",
        identity: saved.identity,
        generation: saved.generation,
      });
      return;
    }
    this.#full(now);
  }

  /** RFC 5246 7.4.1.2, RFC 7627 5.3, RFC 6066 3. */
  #resumable(saved: SavedSession, hello: ClientHello): boolean {
    demand(
      !saved.extended || this.extended,
      Alert.handshakeFailure,
      "resumption without the extended master secret of its session",
    );
    if (!saved.extended) return false;
    return hello.suites.includes(saved.suite.id) && saved.serverName === this.#serverName;
  }

  #resumeSession(now: Instant): void {
    const saved = this.#resume;
    const hello = this.#hello;
    if (saved === undefined || hello === undefined) return;
    this.resumed = true;
    this.suite = saved.suite;
    this.identity = saved.identity;
    this.generation = saved.generation;
    this.#sessionId = hello.sessionId; // echoed: that is how the client sees it was taken
    const serverHello = this.#serverHello(hello, saved.suite, undefined);
    const flight = [serverHello];
    this.session = saved;
    this.#establish(saved.master, now);
    flight.push(CHANGE_CIPHER_SPEC, this.finishedMessage(saved.master));
    this.state = "finished";
    this.transport.send(flight, now);
  }

  #full(now: Instant): void {
    const hello = this.#hello;
    if (hello === undefined) return;
    const choice = chooseSuite(this.#setup, hello);
    demand(choice !== undefined, Alert.handshakeFailure, "no cipher suite in common");
    const { suite, certificate } = choice;
    this.suite = suite;
    this.#withTicket =
      this.#setup.tickets &&
      findExtension(hello.extensions, ExtensionType.sessionTicket) !== undefined;
    // RFC 5077 3.4: with a ticket the server has nothing to remember, so it names no session.
    const idLength = this.#withTicket ? 0 : this.#setup.tuning.sessionIdLength;
    this.#sessionId = this.#setup.rng.bytes(idLength);
    const asks = suite.exchange === "ecdheEcdsa" ? clientKindFor(this.#setup, hello) : undefined;
    this.#clientKind = asks;
    const flight = [this.#serverHello(hello, suite, certificate)];
    const { transport } = this;
    if (suite.exchange === "ecdheEcdsa" && certificate !== undefined) {
      const shown: CertificateMessage =
        certificate.kind === "rpk"
          ? { kind: "rpk", spki: certificate.key.spki }
          : { kind: "x509", chain: certificate.chain };
      flight.push(transport.message(HandshakeType.certificate, encodeCertificate(shown)));
    }
    const keyExchange = this.#serverKeyExchange(hello, suite, certificate);
    if (keyExchange !== undefined) {
      flight.push(transport.message(HandshakeType.serverKeyExchange, keyExchange));
    }
    if (asks !== undefined) {
      const request = { types: [ECDSA_SIGN], schemes: [ECDSA_SHA256], authorities: EMPTY };
      const body = encodeCertificateRequest(request);
      flight.push(transport.message(HandshakeType.certificateRequest, body));
    }
    flight.push(transport.message(HandshakeType.serverHelloDone, EMPTY));
    this.state = asks === undefined ? "keyExchange" : "certificate";
    transport.send(flight, now);
  }

  #serverHello(hello: ClientHello, suite: Suite, certificate: Certificate | undefined): FlightItem {
    const { tuning } = this.#setup;
    const offered = hello.extensions;
    const extensions: Extension[] = [];
    if (hello.suites.includes(EMPTY_RENEGOTIATION_INFO_SCSV) || renegotiationInfo.read(offered)) {
      extensions.push(renegotiationInfo.write());
    }
    if (this.extended) extensions.push(flag(ExtensionType.extendedMasterSecret));
    if (needsEncryptThenMac(suite.cipher)) extensions.push(flag(ExtensionType.encryptThenMac));
    const peerCid = connectionId.read(offered);
    this.modern(peerCid !== undefined);
    if (peerCid !== undefined) {
      this.peerCid = peerCid;
      this.ownCid = this.#setup.takeCid(this);
      extensions.push(connectionId.write(this.ownCid));
      if (
        hasFlag(offered, ExtensionType.returnRoutabilityCheck) &&
        tuning.routabilityCheck !== "off"
      ) {
        this.routability = true;
        extensions.push(flag(ExtensionType.returnRoutabilityCheck));
      }
    }
    this.peerLimit = peerLimit(offered, this.peerCid.length > 0, tuning.padTo);
    this.transport.limit = this.peerLimit;
    const fragment = maxFragmentLength.read(offered);
    if (recordSizeLimit.read(offered) !== undefined) {
      extensions.push(recordSizeLimit.write(tuning.recordSizeLimit || 2 ** 14)); // RFC 8449 5: instead of the other
    } else if (fragment !== undefined) {
      extensions.push(maxFragmentLength.write(fragment));
    }
    if (this.#withTicket) extensions.push(flag(ExtensionType.sessionTicket));
    if (certificate !== undefined) {
      if (findExtension(offered, ExtensionType.serverCertificateType) !== undefined) {
        const type = certificateTypeOf(certificate.kind);
        extensions.push(certificateType.write(ExtensionType.serverCertificateType, type));
      }
      if (
        this.#clientKind !== undefined &&
        findExtension(offered, ExtensionType.clientCertificateType) !== undefined
      ) {
        const type = certificateTypeOf(this.#clientKind);
        extensions.push(certificateType.write(ExtensionType.clientCertificateType, type));
      }
    }
    const body = encodeServerHello({
      version: DTLS_1_2,
      random: this.#randoms.server,
      sessionId: this.#sessionId,
      suite: suite.id,
      compression: 0,
      extensions,
    });
    return this.transport.message(HandshakeType.serverHello, body);
  }

  #serverKeyExchange(
    hello: ClientHello,
    suite: Suite,
    certificate: Certificate | undefined,
  ): Uint8Array | undefined {
    const hint = utf8(this.#setup.credentials.pskHint ?? "");
    if (suite.exchange === "psk") {
      if (hint.length === 0) return undefined; // RFC 4279 2: left out without a hint
      return encodeServerKeyExchange("psk", { hint, share: undefined, signature: undefined });
    }
    const group = groupFor(hello) ?? Group.secp256r1; // chosen only where there is one
    const ours = ephemeral(group, this.#setup.rng);
    this.#ephemeral = ours;
    const share = { group, point: ours.publicKey };
    const { client, server } = this.#randoms;
    const signature =
      certificate === undefined
        ? undefined
        : {
            scheme: ECDSA_SHA256,
            signature: signEcdsa(certificate.key, client, server, shareBytes(share)),
          };
    return encodeServerKeyExchange(suite.exchange, { hint, share, signature });
  }

  #clientCertificate(message: Message): void {
    const kind = this.#clientKind ?? "x509"; // asked for in this state
    this.takeCertificate(message, kind, Alert.handshakeFailure);
    this.state = "keyExchange";
  }

  #clientKeyExchange(message: Message, now: Instant): void {
    const exchange = this.suite?.exchange ?? "psk"; // chosen in this state
    const { identity, point } = decodeClientKeyExchange(exchange, message.body);
    this.transport.note(message);
    if (point !== undefined) this.#agreed = this.#ephemeral?.agree(point);
    if (exchange === "ecdheEcdsa") {
      this.#derive(this.#agreed ?? EMPTY, now);
      return;
    }
    const name = fromUtf8(identity);
    this.identity = { kind: "psk", identity: name };
    this.lookup("lookupKey", { kind: "psk", identity: name });
  }

  #derive(premaster: Uint8Array, now: Instant): void {
    const { suite } = this;
    const { tuning } = this.#setup;
    if (suite === undefined) return;
    const master = this.masterOf(premaster, this.#randoms);
    this.session = {
      suite,
      master,
      extended: this.extended,
      identity: this.identity,
      generation: this.generation,
      serverName: this.#serverName,
      expires: Math.floor(now) + tuning.sessionLifetime,
      id: this.#sessionId,
      ticket: EMPTY,
    };
    this.state = this.certificate === undefined ? "finished" : "certificateVerify";
    this.#establish(master, now);
  }

  #establish(master: Uint8Array, now: Instant): void {
    const own = {
      session: this.#setup.takeSession(),
      ownCid: this.ownCid,
      sessionId: this.#sessionId,
    };
    this.establish(master, this.#randoms, own, now);
  }

  #certificateVerify(message: Message): void {
    const { scheme, signature } = decodeCertificateVerify(message.body);
    const certificate = this.certificate;
    const spki = certificate === undefined ? undefined : spkiOf(certificate);
    demand(scheme === ECDSA_SHA256, Alert.illegalParameter, "signature scheme not asked for");
    demand(
      spki !== undefined && verifyEcdsa(spki, signature, ...this.transport.transcript),
      Alert.decryptError,
      "client does not hold the key of its certificate",
    );
    this.transport.note(message);
    if (certificate === undefined) return;
    this.lookup("lookupPeer", {
      kind: "certificate",
      identity: this.identity,
      certificate,
      serverName: this.#serverName,
    });
  }

  /** The shell knows the peer, maybe by one of several names in its certificate. */
  #recognize(verdict: Extract<Verdict, { ok: true }>): void {
    const { identity = this.identity, until, generation = 0 } = verdict;
    this.identity = identity;
    this.generation = generation;
    this.association?.recognize(identity, generation);
    if (this.session === undefined) return;
    const expires = Math.floor(Math.min(this.session.expires, until ?? Infinity));
    this.session = { ...this.session, identity, generation, expires };
  }

  #finished(message: Message): void {
    this.checkFinished(message, this.session?.master ?? EMPTY);
    this.verified();
  }
}

type State =
  | "lookupResume"
  | "certificate"
  | "keyExchange"
  | "lookupKey"
  | "certificateVerify"
  | "lookupPeer"
  | "finished";

/** What is said of a key that does not prove itself. */
export const DOUBTS = {
  unknownIdentity: "unknown identity",
  wrongKey: "wrong key",
} as const;

/** States in which the next message is taken. */
const RECEIVING: ReadonlySet<State | SharedState> = new Set([
  "hello",
  "certificate",
  "keyExchange",
  "certificateVerify",
  "finished",
]);
