import {
  Ledger,
  Outbox,
  unreachable,
  type Instant,
  type Machine,
  type Path,
  type SessionId,
  type SocketAddress,
} from "@godwit/base";
import { isRequest, isResponse } from "./codes.ts";
import { NON } from "./message.ts";
import type { TransportInput, TransportOutput } from "./endpoint-events.ts";
import type { CoapTuning } from "./tuning.ts";

// Plain UDP as a transport of sessions. A path (our address, the peer's address) is a session until somebody who knows
// better says `rebind`: the path of `from` then leads to `into`.
//
//   datagram from a new path ──> opened, received
//   datagram from a known one ─> received
//   silent for sessionLifetime, or the most silent of too many ──> closed, unless pinned

export type UdpSessionsInput =
  | TransportInput
  /**
   * `from` turned out to be the peer of `into` at a new address: `into` takes over its path. `from` is no more; where it is
   * pinned it stays without a path, until its own peer shows up elsewhere.
   */
  | { readonly type: "rebind"; readonly from: SessionId; readonly into: SessionId }
  /** A session from before a restart; it comes pinned. */
  | { readonly type: "restore"; readonly session: SessionId; readonly path: Path }
  /** The path of `session` is another peer's now: it becomes a session of its own (`opened`), `session` stays without. */
  | { readonly type: "displace"; readonly session: SessionId }
  /** Something points to the session, a registration: only `close` ends it. */
  | { readonly type: "pin"; readonly session: SessionId }
  | { readonly type: "unpin"; readonly session: SessionId };

export type UdpSessionsOptions = {
  /** The number of the first session, above all that were given out before a restart. */
  readonly first?: SessionId;
  /** No session has a higher number. */
  readonly last?: SessionId;
  /** Why a message from a new path is thrown away before there is a session, for reasons of the layers above. */
  readonly strange?: (bytes: Uint8Array, path: Path) => string | undefined;
};

/** Tells the sessions of plain UDP apart by their paths (RFC 7252 4.1: the endpoint is an IP address and a port). */
export class UdpSessions implements Machine<UdpSessionsInput, TransportOutput> {
  readonly #tuning: CoapTuning;
  readonly #strangeAbove: (bytes: Uint8Array, path: Path) => string | undefined;
  readonly #outbox = new Outbox<TransportOutput>();
  readonly #sessions = new Map<SessionId, UdpSession>();
  /** One for each socket of ours; few. */
  readonly #locals: Local[] = [];
  /** What came without belonging to a session. */
  readonly strays: Ledger = new Ledger();
  #next: SessionId;
  readonly #end: SessionId;
  /** Whose paths are other peers' now: nothing is sent to them until their own peers speak again. */
  readonly #displaced = new Set<UdpSession>();
  /** Heard last: most of what is sent is an answer to it. */
  #last: UdpSession | undefined;
  #unpinned = 0;
  /** The unpinned sessions, the most silent first. */
  #oldest: UdpSession | undefined;
  #newest: UdpSession | undefined;

  constructor(tuning: CoapTuning, options: UdpSessionsOptions = {}) {
    const { first = 1, last = Infinity, strange = nothing } = options;
    this.#tuning = tuning;
    this.#strangeAbove = strange;
    this.#next = first;
    this.#end = last;
  }

  /** The number the next session will get. */
  get nextSession(): SessionId {
    return this.#next;
  }

  /** Sessions that live. */
  get size(): number {
    return this.#sessions.size;
  }

  get wakeAt(): Instant | undefined {
    return this.#oldest && this.#silentUntil(this.#oldest);
  }

  /** A session towards a peer that we choose, pinned; the one that exists if there is one. */
  connect(path: Path, now: Instant): SessionId {
    const known = this.#find(path);
    if (known !== undefined) {
      this.#pin(known);
      return known.id;
    }
    return this.#open(path, this.#next++, true, now).id;
  }

  /** The session at a path that is in use. */
  sessionAt(path: Path): SessionId | undefined {
    return this.#find(path)?.id;
  }

  /** Where the session's peer is, as far as known; nothing of one whose path is another's now. */
  pathOf(session: SessionId): Path | undefined {
    const found = this.#sessions.get(session);
    return found === undefined || this.#displaced.has(found) ? undefined : found.path;
  }

  /** Where the session's peer was heard last. */
  lastPathOf(session: SessionId): Path | undefined {
    return this.#sessions.get(session)?.path;
  }

  /** The session's account; an empty one that nobody reads if there is no such session. */
  ledgerOf(session: SessionId): Ledger {
    return this.#sessions.get(session)?.ledger ?? new Ledger();
  }

  handle(input: UdpSessionsInput, now: Instant): void {
    switch (input.type) {
      case "datagram":
        this.#datagram(input.path, input.bytes, now);
        break;
      case "send":
        this.#send(input.session, input.bytes);
        break;
      case "close":
        this.#close(this.#sessions.get(input.session), "asked");
        break;
      case "rebind":
        this.#rebind(input.from, input.into, now);
        break;
      case "displace":
        this.#displace(this.#sessions.get(input.session), now);
        break;
      case "restore":
        this.#restore(input.session, input.path, now);
        break;
      case "pin":
        this.#pin(this.#sessions.get(input.session));
        break;
      case "unpin":
        this.#unpin(this.#sessions.get(input.session), now);
        break;
      default:
        unreachable(input);
    }
  }

  wake(now: Instant): void {
    while (this.#oldest !== undefined && this.#silentUntil(this.#oldest) <= now)
      this.#close(this.#oldest, "idle");
  }

  poll(): TransportOutput | undefined {
    return this.#outbox.take();
  }

  #silentUntil(unpinned: UdpSession): Instant {
    return unpinned.heard! + this.#tuning.sessionLifetime; // kept up while it is not pinned
  }

  #datagram(path: Path, bytes: Uint8Array, now: Instant): void {
    const local = this.#local(path);
    let session = sessionAt(local, path);
    if (session === undefined) {
      const stray = this.#strange(local, path, bytes);
      if (stray !== undefined) {
        this.strays.datagram("in");
        this.strays.add("in", "header", bytes.length);
        this.strays.drop(stray);
        return;
      }
      session = this.#open(path, this.#next++, false, now);
      this.#outbox.push({ type: "opened", session: session.id });
    } else if (!session.pinned) {
      this.#unlist(session);
      session.heard = now;
      this.#enlist(session);
    }
    this.#last = session;
    session.ledger.datagram("in");
    this.#outbox.push({ type: "received", session: session.id, bytes });
  }

  /** Why a datagram from a new path opens no session: only who begins a conversation may be a stranger. */
  #strange(local: Local, path: Path, bytes: Uint8Array): string | undefined {
    if (bytes.length < 4) return "short";
    const first = bytes[0]!; // there are four
    if (first >>> 6 !== 1) return "version";
    const type = (first >>> 4) & 0x03;
    if (type > NON) return "strayAnswer";
    // RFC 7252 4.3: a NON that is no message is passed over. A CON gets its RST (4.2).
    if (type === NON && !isRequest(bytes[1]!) && !isResponse(bytes[1]!)) return "format"; // there are four
    if (local.multicast) return "multicast";
    if (this.#next > this.#end) return "numbersUsedUp";
    return this.#strangeAbove(bytes, path);
  }

  #send(id: SessionId, bytes: Uint8Array): void {
    const session = this.#last?.id === id ? this.#last : this.#sessions.get(id);
    if (session === undefined) return; // it ended while the message was on its way here
    if (this.#displaced.has(session)) {
      session.ledger.drop("displaced"); // whoever is there now is somebody else
      return;
    }
    session.ledger.datagram("out");
    this.#outbox.push({ type: "datagram", path: session.path, bytes });
  }

  #rebind(from: SessionId, into: SessionId, now: Instant): void {
    const gone = this.#sessions.get(from);
    const stays = this.#sessions.get(into);
    if (gone === undefined || stays === undefined || gone === stays) return;
    if (this.#displaced.has(gone)) return; // its path is another peer's by now
    if (gone.pinned) this.#lose(gone);
    else {
      this.#forget(gone);
      stays.ledger.absorb(gone.ledger);
    }
    this.#unmap(stays);
    stays.path = gone.path;
    this.#displaced.delete(stays);
    this.#map(stays);
    stays.ledger.addressChanges += 1;
    if (!stays.pinned) {
      this.#unlist(stays);
      stays.heard = now;
      this.#enlist(stays);
    }
    this.#outbox.push({ type: "moved", session: into, validated: false });
  }

  #displace(session: UdpSession | undefined, now: Instant): void {
    if (session === undefined || this.#displaced.has(session)) return;
    this.#lose(session);
    const id = this.#next++;
    this.#open(session.path, id, false, now);
    this.#outbox.push({ type: "opened", session: id });
  }

  #lose(session: UdpSession): void {
    this.#unmap(session);
    this.#displaced.add(session);
  }

  #restore(id: SessionId, path: Path, now: Instant): void {
    this.#next = Math.max(this.#next, id + 1);
    if (this.#sessions.has(id)) return;
    const there = this.#find(path);
    if (there?.pinned === true) this.#lose(there);
    else if (there !== undefined) this.#close(there, "replaced");
    this.#open(path, id, true, now);
  }

  #open(path: Path, id: SessionId, pinned: boolean, now: Instant): UdpSession {
    const shared: Path = { local: this.#local(path).address, remote: path.remote };
    const session = new UdpSession(id, shared, pinned, now);
    this.#sessions.set(id, session);
    this.#map(session);
    if (!pinned) {
      if (this.#unpinned >= this.#tuning.maxUnpinnedSessions) this.#close(this.#oldest, "evicted");
      this.#enlist(session);
    }
    return session;
  }

  #close(session: UdpSession | undefined, why: string): void {
    if (session === undefined) return;
    this.#forget(session);
    this.#outbox.push({ type: "closed", session: session.id, why });
  }

  #forget(session: UdpSession): void {
    this.#sessions.delete(session.id);
    this.#last = undefined;
    this.#unmap(session);
    this.#displaced.delete(session);
    if (!session.pinned) this.#unlist(session);
  }

  #pin(session: UdpSession | undefined): void {
    if (session === undefined || session.pinned) return;
    this.#unlist(session);
    session.pinned = true;
    session.heard = undefined;
  }

  #unpin(session: UdpSession | undefined, now: Instant): void {
    if (session === undefined || !session.pinned) return;
    session.pinned = false;
    session.heard = now;
    if (this.#unpinned >= this.#tuning.maxUnpinnedSessions) this.#close(this.#oldest, "evicted");
    this.#enlist(session);
  }

  // ── path to session: by our socket, then host, then port; no string is built ──

  #find(path: Path): UdpSession | undefined {
    return sessionAt(this.#local(path), path);
  }

  #map(session: UdpSession): void {
    const { host, port } = session.path.remote;
    const { hosts } = this.#local(session.path);
    const there = hosts.get(host);
    if (there === undefined) hosts.set(host, session);
    else if (there instanceof Map) there.set(port, session);
    else
      hosts.set(
        host,
        new Map([
          [there.path.remote.port, there],
          [port, session],
        ]),
      );
  }

  #unmap(session: UdpSession): void {
    if (this.#displaced.has(session)) return;
    const { host, port } = session.path.remote;
    const { hosts } = this.#local(session.path);
    const there = hosts.get(host); // the session or a map with it: who has a path stands there
    if (there instanceof Map) {
      there.delete(port);
      if (there.size > 0) return;
    }
    hosts.delete(host);
  }

  #local(path: Path): Local {
    const { host, port } = path.local;
    for (let i = 0; i < this.#locals.length; i++) {
      const local = this.#locals[i]!; // i < length
      if (local.port === port && local.host === host) return local;
    }
    const address = { host, port };
    const local = { host, port, address, multicast: isMulticast(host), hosts: new Map() };
    this.#locals.push(local);
    return local;
  }

  // ── the unpinned, by silence ──

  #enlist(session: UdpSession): void {
    session.before = this.#newest;
    session.behind = undefined;
    if (this.#newest === undefined) this.#oldest = session;
    else this.#newest.behind = session;
    this.#newest = session;
    this.#unpinned += 1;
  }

  #unlist(session: UdpSession): void {
    if (session.before === undefined) this.#oldest = session.behind;
    else session.before.behind = session.behind;
    if (session.behind === undefined) this.#newest = session.before;
    else session.behind.before = session.before;
    session.before = undefined;
    session.behind = undefined;
    this.#unpinned -= 1;
  }
}

class UdpSession {
  readonly id: SessionId;
  path: Path;
  pinned: boolean;
  /** When the peer was heard last. Not kept up while pinned: a number of that size is an object of its own. */
  heard: Instant | undefined;
  readonly ledger: Ledger = new Ledger();
  before: UdpSession | undefined = undefined;
  behind: UdpSession | undefined = undefined;

  constructor(id: SessionId, path: Path, pinned: boolean, now: Instant) {
    this.id = id;
    this.path = path;
    this.pinned = pinned;
    this.heard = pinned ? undefined : now;
  }
}

type Local = {
  /** One object for all its sessions. */
  readonly address: SocketAddress;
  readonly host: string;
  readonly port: number;
  readonly multicast: boolean;
  /** Most hosts have one port; a NAT has many. */
  readonly hosts: Map<string, UdpSession | Map<number, UdpSession>>;
};

function sessionAt({ hosts }: Local, { remote }: Path): UdpSession | undefined {
  const found = hosts.get(remote.host);
  if (found === undefined) return undefined;
  if (found instanceof Map) return found.get(remote.port);
  return found.path.remote.port === remote.port ? found : undefined;
}

function nothing(): undefined {}

/** 224.0.0.0/4 (RFC 5771), ff00::/8 (RFC 4291 2.7). */
function isMulticast(host: string): boolean {
  if (host.includes(":")) return /^ff[0-9a-f]{2}:/i.test(host);
  const first = Number.parseInt(host, 10);
  return first >= 224 && first <= 239;
}
