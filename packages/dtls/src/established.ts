import {
  FormatError,
  type Instant,
  type Path,
  type Rng,
  type StoreChange,
  equalSecret,
} from "@godwit/base";
import type { Association, Received } from "./association.ts";
import { Alert, ContentType, HandshakeType } from "./codes.ts";
import { type DtlsOutput, TABLES } from "./events.ts";
import { encodeAssociation } from "./export.ts";
import { repackLastFlight } from "./handshake-transport.ts";
import { scanFragments } from "./handshake/header.ts";
import { type PathClaim, samePath } from "./path-claim.ts";
import type { DtlsRecord } from "./record/header.ts";
import { COOKIE_LENGTH, decodeRoutability, encodeRoutability } from "./rrc.ts";
import type { DtlsTuning } from "./tuning.ts";

/** What established associations need of the machine around them. */
export type Host = {
  readonly tuning: DtlsTuning;
  readonly rng: Rng;
  /** Associations are kept in a store. */
  readonly durable: boolean;
  /** This one is, where associations are. */
  isKept(association: Association): boolean;
  /** A server's peers may move; a client's server may not. */
  readonly follows: boolean;
  output(output: DtlsOutput): void;
  seal(plain: Uint8Array): Uint8Array;
  store(changes: readonly StoreChange[], then: (ok: boolean) => void): void;
  /** Takes the association out of every table and tells the layer above. */
  end(association: Association, why: string): void;
  /** The association's path becomes `path`; the maps of the machine follow. */
  rebind(association: Association, path: Path | undefined, proven: boolean): void;
  /** When to call `expire` for it. */
  deadline(association: Association, at: Instant | undefined): void;
  /** A fatal alert forbids to resume (RFC 5246 7.2.2). */
  forgetSession(association: Association): void;
};

/**
 * The life of an association after its handshake, the same for client and server: records in and out, where the peer
 * is, and what the store must know. Everything here has been authenticated.
 */
export class Established {
  readonly #host: Host;

  constructor(host: Host) {
    this.#host = host;
  }

  /** One protected record for `a`, from wherever. Says whether it verified. */
  receive(a: Association, record: DtlsRecord, path: Path, now: Instant): boolean {
    const received = a.open(record);
    this.process(a, received, record, path, now);
    return received.ok;
  }

  /** As `receive`, for a record that was opened already. */
  process(a: Association, received: Received, record: DtlsRecord, path: Path, now: Instant): void {
    if (!received.ok) {
      a.ledger.drop(received.why);
      if (a.forgeries >= this.#host.tuning.forgeryLimit) {
        this.#host.end(a, "too many forged records");
      }
      return;
    }
    a.lastReceived = Math.floor(now / 1_000);
    const isData = received.type === ContentType.applicationData;
    const spent = record.size - (isData ? received.content.length : 0);
    a.ledger.add("in", isData ? "record" : "handshake", spent);
    if (!a.isAt(path)) {
      if (received.newest) this.#follow(a, path, record.size, now);
    } else if (a.claim !== undefined) a.claim.received += record.size;
    this.#content(a, received.type, received.content, path, now);
  }

  /** Application data that was verified before the handshake was through. */
  deliver(a: Association, bytes: Uint8Array): void {
    a.lastFlight = undefined; // who has the last flight does not ask for it again
    this.#host.output({ type: "received", session: a.session, bytes, fresh: !a.doubtful });
  }

  send(a: Association, bytes: Uint8Array): void {
    if (bytes.length > a.peerLimit) return a.ledger.drop("tooLong");
    if (a.writable) {
      this.#write(a, ContentType.applicationData, bytes);
    } else {
      a.held ??= [];
      if (a.held.length < this.#host.tuning.maxHeld) a.held.push(bytes);
      else a.ledger.drop("heldFull");
    }
    return this.#reserve(a);
  }

  close(a: Association): void {
    this.#alert(a, WARNING, Alert.closeNotify);
    this.#host.end(a, "closed");
  }

  /** As `close`, but only who is where the peer seems to be shall go: the peer itself may be elsewhere. */
  dismiss(a: Association): void {
    this.#alert(a, WARNING, Alert.closeNotify);
  }

  /** The peer receives at its address: the layer above has seen it. */
  validated(a: Association): void {
    if (a.claim === undefined) return;
    a.claim = undefined;
    this.#host.rebind(a, a.path, true);
    this.#host.deadline(a, undefined);
    this.#host.output({ type: "validated", session: a.session });
    this.save(a);
  }

  /** What comes from now on is new: all up to here is too old. */
  fresh(a: Association): void {
    if (!a.doubtful) return;
    a.doubtful = false;
    a.window.raise(a.window.top);
    if (a.claim?.stage !== "open") return;
    a.claim.deadline = undefined;
    this.#host.deadline(a, undefined);
  }

  /** A path challenge has not been answered in time, or nothing has shown that a peer in doubt is where it seems to be. */
  expire(a: Association, now: Instant): void {
    const { claim } = a;
    if (claim?.deadline === undefined || claim.deadline > now) return;
    if (claim.stage === "open") {
      this.#stay(a, claim);
    } else if (claim.stage === "askOld") {
      this.#ask(a, claim, "askNew", now);
    } else if (claim.cookies.length < this.#host.tuning.maxChallenges) {
      this.#ask(a, claim, "askNew", now);
    } else {
      this.#stay(a, claim);
    }
  }

  /** Writes the association as it is, with a bound for its sequence numbers, and lets it write up to there. */
  save(a: Association, then?: (ok: boolean) => void, also: readonly StoreChange[] = []): void {
    if (!this.#host.durable || !this.#host.isKept(a)) {
      then?.(true);
      return;
    }
    const bound = Math.max(a.writeSequence, a.reserved ?? 0) + this.#host.tuning.stride;
    a.reserving = true;
    this.#host.store([...also, associationChange(a, bound, this.#host)], (ok) => {
      a.reserving = false;
      if (ok) a.reserved = bound;
      then?.(ok);
    });
  }

  /** Sends what waited for numbers. */
  flush(a: Association): void {
    const held = a.held ?? [];
    a.held = undefined;
    for (const bytes of held) this.send(a, bytes);
  }

  #content(a: Association, type: number, content: Uint8Array, path: Path, now: Instant): void {
    switch (type) {
      case ContentType.applicationData:
        this.deliver(a, content);
        this.#makeFresh(a, path, now);
        return;
      case ContentType.alert:
        return this.#alerted(a, content);
      case ContentType.handshake:
        return this.#handshake(a, content, now);
      case ContentType.returnRoutabilityCheck:
        return this.#routability(a, content, path, now);
      default:
        a.ledger.drop("innerType");
    }
  }

  #alerted(a: Association, content: Uint8Array): void {
    if (content.length !== 2) return a.ledger.drop("badAlert");
    const [level, code] = content;
    if (code === Alert.closeNotify) {
      this.#alert(a, WARNING, Alert.closeNotify); // RFC 5246 7.2.1
      return this.#host.end(a, "closed by peer");
    }
    if (level !== FATAL) return undefined;
    this.#host.forgetSession(a);
    return this.#host.end(a, `peer's alert ${code}`);
  }

  /** Handshake messages under our keys: the peer asks for our last flight again, or to renegotiate. */
  #handshake(a: Association, content: Uint8Array, now: Instant): void {
    const fragments = scanFragments(content);
    if (typeof fragments === "string") return a.ledger.drop("badHandshakeRecord");
    const last = a.lastFlight;
    for (const { type, messageSeq } of fragments) {
      if (type === HandshakeType.finished && messageSeq === last?.asksAgain) {
        if (now > last.until || now - last.sentAt < this.#host.tuning.resendGap) continue;
        last.sentAt = now;
        for (const bytes of repackLastFlight(a, this.#host.rng, this.#host.tuning)) {
          this.#out(a, a.path, bytes, "retransmission", 0);
        }
      } else if (type === HandshakeType.clientHello || type === HandshakeType.helloRequest) {
        a.ledger.drop("renegotiation");
        this.#alert(a, WARNING, Alert.noRenegotiation); // RFC 7925 17
      } else {
        a.ledger.drop("lateHandshake");
      }
    }
  }

  /** RFC 9853 5. */
  #routability(a: Association, content: Uint8Array, path: Path, now: Instant): void {
    if (!a.routability) return a.ledger.drop("innerType");
    let message;
    try {
      message = decodeRoutability(content);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      return a.ledger.drop("badRoutability");
    }
    switch (message?.type) {
      case undefined:
        return a.ledger.drop("unknownRoutability");
      case "challenge":
        // Exactly one answer, at once, to where the challenge came from.
        return this.#routabilityOut(a, path, "response", message.cookie);
      case "response":
        return this.#answered(a, message.cookie, path);
      case "drop":
        // The peer has left the old path on purpose.
        if (a.claim?.stage === "askOld" && isOurs(a.claim, message.cookie)) {
          this.#ask(a, a.claim, "askNew", now);
        } else a.ledger.drop("strayRoutability");
        return undefined;
    }
  }

  #answered(a: Association, cookie: Uint8Array, path: Path): void {
    const { claim } = a;
    if (claim?.stage !== "askNew" || !isOurs(claim, cookie) || !a.isAt(path)) {
      return a.ledger.drop("strayRoutability");
    }
    this.fresh(a);
    return this.validated(a);
  }

  /** A newest record came from elsewhere: the peer may have moved, or somebody was faster with a copy. */
  #follow(a: Association, path: Path, size: number, now: Instant): void {
    if (!this.#host.follows) return a.ledger.drop("elsewhere");
    const proven = a.claim === undefined ? a.path : a.claim.proven;
    if (a.claim !== undefined && samePath(proven, path)) {
      this.#stay(a, a.claim);
      return undefined;
    }
    const claim = newClaim(proven, size);
    a.claim = claim;
    a.ledger.addressChanges += 1;
    this.#host.deadline(a, undefined);
    this.#host.rebind(a, path, false);
    this.#host.output({ type: "moved", session: a.session, validated: false });
    const { routabilityCheck, doubtfulClaim } = this.#host.tuning;
    if (!a.routability || routabilityCheck === "off") {
      if (!a.doubtful) return undefined;
      claim.deadline = now + doubtfulClaim;
      return this.#host.deadline(a, claim.deadline);
    }
    const first = routabilityCheck === "enhanced" && proven !== undefined ? "askOld" : "askNew";
    return this.#ask(a, claim, first, now);
  }

  /** After a crash, a peer that answers a challenge of now is no replay. */
  #makeFresh(a: Association, path: Path, now: Instant): void {
    if (!a.doubtful || !a.routability || a.claim !== undefined || !a.isAt(path)) return;
    if (this.#host.tuning.routabilityCheck === "off") return;
    const claim = newClaim(a.path, FRESHNESS_CREDIT);
    a.claim = claim;
    this.#ask(a, claim, "askNew", now);
  }

  #ask(a: Association, claim: PathClaim, stage: "askOld" | "askNew", now: Instant): void {
    if (claim.stage !== stage) claim.cookies = [];
    claim.stage = stage;
    const cookie = this.#host.rng.bytes(COOKIE_LENGTH);
    claim.cookies.push(cookie);
    claim.deadline = now + this.#host.tuning.challengeTimeout;
    this.#host.deadline(a, claim.deadline);
    this.#routabilityOut(a, stage === "askOld" ? claim.proven : a.path, "challenge", cookie);
  }

  /** The claim came to nothing: the peer is where it was. */
  #stay(a: Association, claim: PathClaim): void {
    a.claim = undefined;
    this.#host.deadline(a, undefined);
    if (claim.proven === undefined || a.isAt(claim.proven)) return;
    this.#host.rebind(a, claim.proven, true);
    this.#host.output({ type: "moved", session: a.session, validated: true });
  }

  #routabilityOut(
    a: Association,
    path: Path | undefined,
    type: "challenge" | "response",
    cookie: Uint8Array,
  ): void {
    if (!a.writable) return a.ledger.drop("notReserved");
    const content = encodeRoutability({ type, cookie });
    const { rng, tuning } = this.#host;
    const bytes = a.seal(ContentType.returnRoutabilityCheck, content, rng, tuning.padTo);
    return this.#out(a, path, bytes, "handshake", 0);
  }

  #alert(a: Association, level: number, code: number): void {
    if (a.writable) this.#write(a, ContentType.alert, Uint8Array.of(level, code));
  }

  #write(a: Association, type: number, content: Uint8Array): void {
    const { path } = a;
    if (path === undefined) return a.ledger.drop("noPath");
    const size = content.length + a.overhead(content.length);
    const { claim } = a;
    if (claim !== undefined && !samePath(claim.proven, path)) {
      // A new address is a claim: RFC 9853 4, RFC 9146 6.
      const budget = claim.received * this.#host.tuning.amplification - claim.sent;
      if (size > budget) return a.ledger.drop("addressUnproven");
    }
    if (a.writeSequence >= this.#host.tuning.sequenceLimit) {
      return this.#host.end(a, "sequence numbers used up");
    }
    const bytes = a.seal(type, content, this.#host.rng, this.#host.tuning.padTo);
    const isData = type === ContentType.applicationData;
    return this.#out(a, path, bytes, isData ? "record" : "handshake", isData ? content.length : 0);
  }

  #out(
    a: Association,
    path: Path | undefined,
    bytes: Uint8Array,
    purpose: "record" | "handshake" | "retransmission",
    content: number,
  ): void {
    if (path === undefined) return a.ledger.drop("noPath");
    if (a.claim !== undefined && a.isAt(path)) a.claim.sent += bytes.length;
    a.ledger.datagram("out");
    a.ledger.add("out", purpose, bytes.length - content);
    this.#host.output({ type: "datagram", path, bytes });
    return undefined;
  }

  /** Reserves more numbers when half of them are used, so that nothing waits in steady state. */
  #reserve(a: Association): void {
    if (!this.#host.durable || a.reserving) return;
    if ((a.reserved ?? Infinity) - a.writeSequence > this.#host.tuning.stride / 2) return;
    this.save(a, (ok) => {
      if (ok) this.flush(a);
    });
  }
}

/** The row of an association in the store. */
export function associationChange(
  a: Association,
  bound: number,
  host: Pick<Host, "seal">,
): StoreChange {
  const value = host.seal(encodeAssociation(a, bound));
  return { table: TABLES.association, key: String(a.session), value };
}

function newClaim(proven: Path | undefined, received: number): PathClaim {
  return { proven, stage: "open", received, sent: 0, cookies: [], deadline: undefined };
}

function isOurs(claim: PathClaim, cookie: Uint8Array): boolean {
  return claim.cookies.some((known) => equalSecret(known, cookie));
}

const WARNING = 1;
const FATAL = 2;
/** The address is proven, only the time is not: no reason to hold back. */
const FRESHNESS_CREDIT = 2 ** 16;
