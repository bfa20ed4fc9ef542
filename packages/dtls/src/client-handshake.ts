import {
  EMPTY,
  type Instant,
  type Ledger,
  type Path,
  type SessionId,
  equal,
  unreachable,
  utf8,
} from "@godwit/base";
import {
  Alert,
  DTLS_1_2,
  ECDSA_SHA256,
  EMPTY_RENEGOTIATION_INFO_SCSV,
  ExtensionType,
  HandshakeType,
} from "./codes.ts";
import type { ClientCredentials, Verdict } from "./credentials.ts";
import { ephemeral, signEcdsa, verifyEcdsa } from "./crypto.ts";
import { offeredExtensions } from "./client-offer.ts";
import type { FlightItem } from "./flight.ts";
import { HandshakeBase, type SharedSetup, type SharedState, expect } from "./handshake-base.ts";
import { peerLimit, spkiOf } from "./handshake-effect.ts";
import { CHANGE_CIPHER_SPEC } from "./handshake-transport.ts";
import {
  type CertificateMessage,
  certificateKind,
  decodeCertificateRequest,
  encodeCertificate,
} from "./handshake/certificate.ts";
import { encodeClientHello } from "./handshake/client-hello.ts";
import {
  type Extension,
  certificateType,
  connectionId,
  findExtension,
  hasFlag,
  maxFragmentLength,
  namedGroups,
  renegotiationInfo,
} from "./handshake/extensions.ts";
import { decodeHelloVerifyRequest } from "./handshake/hello-verify-request.ts";
import {
  type KeyShare,
  decodeServerKeyExchange,
  encodeCertificateVerify,
  encodeClientKeyExchange,
  shareBytes,
} from "./handshake/key-exchange.ts";
import { decodeNewSessionTicket } from "./handshake/new-session-ticket.ts";
import { type ServerHello, decodeServerHello } from "./handshake/server-hello.ts";
import { type Randoms, pskPremaster } from "./keys.ts";
import type { Message } from "./reassembly.ts";
import type { DtlsRecord } from "./record/header.ts";
import { demand } from "./refusal.ts";
import type { SavedSession } from "./saved-session.ts";
import { type Suite, needsEncryptThenMac } from "./suites.ts";

/** What a client brings to each of its handshakes. */
export type ClientSetup = SharedSetup & {
  readonly credentials: ClientCredentials;
  readonly suites: readonly Suite[];
  /** The connection id we want to receive, maybe empty; undefined offers none. */
  readonly connectionId: Uint8Array | undefined;
  /** Offers RFC 9853, where connection ids are offered. */
  readonly routability: boolean;
  /** Asks for a ticket instead of a session id. */
  readonly tickets: boolean;
  /** Sent as SNI unless empty. */
  readonly serverName: string;
};

/** What one handshake is for. */
export type ClientAttempt = {
  readonly path: Path;
  readonly session: SessionId;
  readonly resume: SavedSession | undefined;
  readonly signals: boolean;
};

/**
 *   full     hello > [certificate] > [keyExchange] > [request] > done > [lookup] > serverFinished > confirm
 *   resumed  hello > serverFinished > confirm
 *
 *   ClientHello  -->   <-- HelloVerifyRequest   ClientHello + cookie  -->  ... as at the server          RFC 6347 4.2.4
 */
export class ClientHandshake extends HandshakeBase<State> {
  readonly #setup: ClientSetup;
  readonly #sessionId: SessionId;
  readonly #resume: SavedSession | undefined;
  readonly #offer: { readonly random: Uint8Array; readonly sessionId: Uint8Array };
  readonly #extensions: readonly Extension[];
  /** Signals RFC 5746, which takes bytes and says nothing to a server that never renegotiates; some want it. */
  readonly signals: boolean;
  /** It failed as with a server that wants the signal, and had none. */
  wantsSignal = false;
  #cookies = 0;
  #server: ServerHello | undefined;
  #expectTicket = false;
  #serverKind: "rpk" | "x509" = "x509";
  #clientKind: "rpk" | "x509" = "x509";
  #share: KeyShare | undefined;
  #asked = false;
  #master: Uint8Array = EMPTY;
  #ticket: { readonly ticket: Uint8Array; readonly lifetime: number } | undefined;

  constructor(
    setup: ClientSetup,
    { path, session, resume, signals }: ClientAttempt,
    ledger: Ledger,
    now: Instant,
  ) {
    super("client", setup, RECEIVING, path, ledger, { messageSeq: 0, sequence: 0 }, now);
    const { credentials, rng } = setup;
    this.#setup = setup;
    this.signals = signals;
    this.#sessionId = session;
    this.#resume = resume;
    if (credentials.kind === "psk") {
      this.identity = { kind: "psk", identity: credentials.identity };
    }
    // RFC 5077 3.4: with a ticket the client invents an id, and knows by its echo that the ticket was taken.
    const byTicket = resume !== undefined && resume.ticket.length > 0;
    const sessionId = byTicket ? rng.bytes(INVENTED_ID) : (resume?.id ?? EMPTY);
    this.#offer = { random: rng.bytes(32), sessionId };
    this.#extensions = offeredExtensions(setup, resume?.ticket ?? EMPTY);
    this.transport.send([this.#clientHello(EMPTY)], now);
  }

  get clientRandom(): Uint8Array {
    return this.#offer.random;
  }

  get master(): Uint8Array {
    return this.#master;
  }

  override receive(record: DtlsRecord, now: Instant): boolean {
    const isGood = super.receive(record, now);
    const isRefused = this.transport.plainAlert === Alert.handshakeFailure;
    if (!this.signals && this.state === "hello" && isRefused) {
      this.wantsSignal = true;
      this.end(this.silence);
    }
    return isGood;
  }

  wake(now: Instant): void {
    if (this.done || this.transport.wake(now)) return;
    this.end(this.silence);
  }

  /** Whether the server is the one we mean. */
  verdict(verdict: Verdict, now: Instant): void {
    if (this.state !== "lookup") return;
    this.guard(now, () => {
      if (!verdict.ok) demand(false, verdict.alert ?? Alert.certificateUnknown, verdict.why);
      this.#answer(now);
    });
  }

  /** The association is safe; after a resumption this sends our last flight. */
  confirm(now: Instant): void {
    const association = this.association;
    if (this.state !== "confirm" || association === undefined) return;
    this.state = "done";
    if (!this.resumed) return;
    const flight = [CHANGE_CIPHER_SPEC, this.finishedMessage(this.#master)];
    this.sendLast(flight, association, now);
  }

  protected get sealsAlerts(): boolean {
    return true;
  }

  #clientHello(cookie: Uint8Array): FlightItem {
    const { random, sessionId } = this.#offer;
    const body = encodeClientHello({
      version: DTLS_1_2,
      random,
      sessionId,
      cookie,
      suites: [
        ...this.#setup.suites.map((suite) => suite.id),
        ...(this.signals ? [EMPTY_RENEGOTIATION_INFO_SCSV] : []),
      ],
      compression: Uint8Array.of(0),
      extensions: this.#extensions,
    });
    return this.transport.message(HandshakeType.clientHello, body);
  }

  protected message(message: Message, now: Instant): void {
    switch (this.state) {
      case "hello":
        if (message.type === HandshakeType.helloVerifyRequest) return this.#cookie(message, now);
        expect(message, HandshakeType.serverHello);
        return this.#serverHello(message, now);
      case "certificate":
        expect(message, HandshakeType.certificate);
        return this.#serverCertificate(message);
      case "keyExchange":
        if (message.type === HandshakeType.serverKeyExchange) {
          return this.#serverKeyExchange(message);
        }
        demand(this.suite?.exchange === "psk", Alert.unexpectedMessage, "no ServerKeyExchange");
        expect(message, HandshakeType.serverHelloDone);
        return this.#helloDone(message, now);
      case "request":
        if (
          message.type === HandshakeType.certificateRequest &&
          this.suite?.exchange === "ecdheEcdsa" &&
          !this.#asked
        ) {
          decodeCertificateRequest(message.body);
          this.transport.note(message);
          this.#asked = true;
          return undefined;
        }
        expect(message, HandshakeType.serverHelloDone);
        return this.#helloDone(message, now);
      case "serverFinished":
        if (message.type === HandshakeType.newSessionTicket && this.#expectTicket) {
          this.#expectTicket = false;
          this.#ticket = { ...decodeNewSessionTicket(message.body) };
          this.transport.note(message);
          return undefined;
        }
        expect(message, HandshakeType.finished);
        return this.#finished(message);
      case "lookup":
      case "confirm":
      case "done":
      case "failed":
        return undefined; // no message is taken in these
      default:
        return unreachable(this.state);
    }
  }

  #cookie(message: Message, now: Instant): void {
    const cookie = decodeHelloVerifyRequest(message.body);
    this.#cookies += 1;
    demand(
      this.#cookies <= MAX_COOKIES,
      Alert.unexpectedMessage,
      "cookie asked for again and again",
    );
    this.transport.forget();
    this.transport.send([this.#clientHello(cookie)], now);
  }

  #serverHello(message: Message, now: Instant): void {
    const hello = decodeServerHello(message.body);
    const { extensions } = hello;
    demand(hello.version === DTLS_1_2, Alert.protocolVersion, "server chose another version");
    const suite = this.#setup.suites.find((offered) => offered.id === hello.suite);
    demand(suite !== undefined, Alert.illegalParameter, "server chose a suite not offered");
    demand(hello.compression === 0, Alert.illegalParameter, "server chose a compression");
    for (const { type } of extensions) {
      const offered =
        findExtension(this.#extensions, type) !== undefined ||
        (this.signals && type === ExtensionType.renegotiationInfo); // the signal stands for it
      demand(offered, Alert.unsupportedExtension, `server answers extension ${type} not offered`);
    }
    this.extended = hasFlag(extensions, ExtensionType.extendedMasterSecret);
    demand(
      this.extended || !this.#setup.tuning.requireExtendedMasterSecret,
      Alert.handshakeFailure,
      "server has no extended master secret",
    );
    demand(
      !needsEncryptThenMac(suite.cipher) || hasFlag(extensions, ExtensionType.encryptThenMac),
      Alert.handshakeFailure,
      "server wants CBC without encrypt-then-MAC",
    );
    demand(
      findExtension(extensions, ExtensionType.recordSizeLimit) === undefined ||
        findExtension(extensions, ExtensionType.maxFragmentLength) === undefined,
      Alert.illegalParameter,
      "server answers record_size_limit and max_fragment_length",
    );
    renegotiationInfo.read(extensions);
    const fragment = maxFragmentLength.read(extensions);
    demand(
      fragment === undefined || fragment === this.#setup.tuning.maxFragmentLength,
      Alert.illegalParameter,
      "server chose another maximum fragment length",
    );
    const peerCid = connectionId.read(extensions);
    this.modern(peerCid !== undefined);
    this.peerCid = Uint8Array.from(peerCid ?? EMPTY);
    this.routability =
      hasFlag(extensions, ExtensionType.returnRoutabilityCheck) && peerCid !== undefined;
    this.peerLimit = peerLimit(extensions, this.peerCid.length > 0, this.#setup.tuning.padTo);
    this.transport.limit = this.peerLimit;
    this.#expectTicket = hasFlag(extensions, ExtensionType.sessionTicket);
    this.#server = {
      ...hello,
      random: Uint8Array.from(hello.random),
      sessionId: Uint8Array.from(hello.sessionId),
    };
    this.suite = suite;
    this.transport.note(message);
    if (this.#resume !== undefined && this.#isEcho(hello.sessionId)) {
      this.#resumeSession(this.#resume, suite, now);
      return;
    }
    if (suite.exchange !== "ecdheEcdsa") {
      this.state = "keyExchange";
      return;
    }
    this.#serverKind = certificateKind(
      certificateType.read(extensions, ExtensionType.serverCertificateType),
    );
    this.#clientKind = certificateKind(
      certificateType.read(extensions, ExtensionType.clientCertificateType),
    );
    const { credentials } = this.#setup;
    demand(
      credentials.kind === "certificate" &&
        credentials.serverCertificates.includes(this.#serverKind),
      Alert.unsupportedCertificate,
      "server shows a kind of certificate that was not offered",
    );
    this.state = "certificate";
  }

  #isEcho(id: Uint8Array): boolean {
    return id.length > 0 && equal(id, this.#offer.sessionId);
  }

  #resumeSession(saved: SavedSession, suite: Suite, now: Instant): void {
    demand(saved.suite.id === suite.id, Alert.illegalParameter, "resumed under another suite");
    demand(
      saved.extended === this.extended,
      Alert.handshakeFailure,
      "resumed without the extended master secret of the session",
    );
    this.resumed = true;
    this.identity = saved.identity;
    this.#master = saved.master;
    this.session = saved;
    this.state = "serverFinished";
    this.#establish(now);
  }

  #serverCertificate(message: Message): void {
    this.takeCertificate(message, this.#serverKind, Alert.badCertificate);
    this.state = "keyExchange";
  }

  #serverKeyExchange(message: Message): void {
    const exchange = this.suite?.exchange ?? "psk"; // chosen by ServerHello
    const { share, signature } = decodeServerKeyExchange(exchange, message.body);
    if (share !== undefined) {
      const offered = namedGroups.includes(share.group);
      demand(offered, Alert.illegalParameter, "server chose a group not offered");
    }
    if (exchange === "ecdheEcdsa") {
      const spki = this.certificate === undefined ? undefined : spkiOf(this.certificate);
      demand(
        share !== undefined && signature !== undefined && signature.scheme === ECDSA_SHA256,
        Alert.illegalParameter,
        "signature scheme not offered",
      );
      const { client, server } = this.#randoms();
      demand(
        spki !== undefined &&
          verifyEcdsa(spki, signature.signature, client, server, shareBytes(share)),
        Alert.decryptError,
        "server does not hold the key of its certificate",
      );
    }
    this.#share = share;
    this.transport.note(message);
    this.state = "request";
  }

  #helloDone(message: Message, now: Instant): void {
    demand(message.body.length === 0, Alert.decodeError, "ServerHelloDone has content");
    this.transport.note(message);
    const certificate = this.certificate;
    if (certificate === undefined) {
      this.#answer(now);
      return;
    }
    this.lookup("lookup", {
      kind: "certificate",
      identity: this.identity,
      certificate,
      serverName: this.#setup.serverName,
    });
  }

  /** Our flight of keys: [Certificate] ClientKeyExchange [CertificateVerify] CCS Finished. */
  #answer(now: Instant): void {
    const { transport } = this;
    const { credentials, rng } = this.#setup;
    const suite = this.suite;
    if (suite === undefined) return;
    const flight: FlightItem[] = [];
    const shown = credentials.kind === "certificate" ? credentials.certificate : undefined;
    const usable = shown !== undefined && shown.kind === this.#clientKind ? shown : undefined;
    if (this.#asked) {
      const message: CertificateMessage =
        usable === undefined
          ? { kind: "x509", chain: [] }
          : usable.kind === "rpk"
            ? { kind: "rpk", spki: usable.key.spki }
            : { kind: "x509", chain: usable.chain };
      flight.push(transport.message(HandshakeType.certificate, encodeCertificate(message)));
    }
    const share = this.#share;
    const ours = share === undefined ? undefined : ephemeral(share.group, rng);
    const agreed = share === undefined ? undefined : ours?.agree(share.point);
    const identity = credentials.kind === "psk" ? utf8(credentials.identity) : EMPTY;
    const exchange = encodeClientKeyExchange(suite.exchange, { identity, point: ours?.publicKey });
    flight.push(transport.message(HandshakeType.clientKeyExchange, exchange));
    const premaster =
      credentials.kind === "psk" ? pskPremaster(credentials.key, agreed) : (agreed ?? EMPTY);
    this.#master = this.masterOf(premaster, this.#randoms());
    if (this.#asked && usable !== undefined) {
      const signature = signEcdsa(usable.key, ...transport.transcript);
      const body = encodeCertificateVerify({ scheme: ECDSA_SHA256, signature });
      flight.push(transport.message(HandshakeType.certificateVerify, body));
    }
    this.state = "serverFinished";
    flight.push(CHANGE_CIPHER_SPEC, this.finishedMessage(this.#master));
    this.#establish(now);
    transport.send(flight, now);
  }

  #establish(now: Instant): void {
    const own = {
      session: this.#sessionId,
      ownCid: this.#peerCidAgreed() ? (this.#setup.connectionId ?? EMPTY) : EMPTY,
      sessionId: this.#server?.sessionId ?? EMPTY,
    };
    this.establish(this.#master, this.#randoms(), own, now);
  }

  #peerCidAgreed(): boolean {
    return connectionId.read(this.#server?.extensions ?? []) !== undefined;
  }

  #finished(message: Message): void {
    this.checkFinished(message, this.#master);
    demand(!this.#expectTicket, Alert.unexpectedMessage, "server announced a ticket and sent none");
    if (!this.resumed) this.session = this.#newSession();
    this.verified();
  }

  #newSession(): SavedSession | undefined {
    const server = this.#server;
    const suite = this.suite;
    const ticket = this.#ticket?.ticket ?? EMPTY;
    if (server === undefined || suite === undefined) return undefined;
    if (server.sessionId.length === 0 && ticket.length === 0) return undefined;
    return {
      suite,
      master: this.#master,
      extended: this.extended,
      identity: this.identity,
      generation: 0, // it has one credential, and drops what another left
      serverName: this.#setup.serverName,
      // The server knows best when it forgets; asking in vain costs no more than a full handshake.
      expires: FAR,
      id: server.sessionId,
      ticket: Uint8Array.from(ticket),
    };
  }

  #randoms(): Randoms {
    return { client: this.#offer.random, server: this.#server?.random ?? EMPTY };
  }
}

type State = "certificate" | "keyExchange" | "request" | "lookup" | "serverFinished";

const RECEIVING: ReadonlySet<State | SharedState> = new Set([
  "hello",
  "certificate",
  "keyExchange",
  "request",
  "serverFinished",
]);

const INVENTED_ID = 8;
/** A server whose cookie key changed in between may ask twice. */
const MAX_COOKIES = 3;
const FAR = 2 ** 47;
