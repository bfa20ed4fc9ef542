// Credentials come and go, and with them all that was made of them:
//
//   add, replace, revoke ──▶ the credential's rows, ──┬── refused: nothing has changed, in memory or store
//                            and that it changed      │
//                                                     └── durable: the book has it, what was made of the old one goes, a
//                                                         session of OSCORE begins. Written until the store takes it, or a
//                                                         start that reads that it changed does it; answered once tried
//
// One after the other for each credential.

import {
  UsageError,
  fromUtf8,
  utf8,
  type Instant,
  type SessionId,
  type StoreChange,
} from "@godwit/base";
import type { ServerTransports } from "../server-transports.ts";
import type { BookChange, CredentialBook } from "./credential-book.ts";
import { credentialId, credentialIdOf, identityOf, type Credential } from "./credential.ts";
import type { StoredRecord } from "./events.ts";
import type { OscoreCredential, ProtectedSessions } from "./protected-sessions.ts";
import type { Quarantine } from "./quarantine.ts";
import type { Lwm2mServer } from "./server.ts";
import type { Written } from "./store-writes.ts";
import {
  USED_TABLE,
  mayUseFixedContext,
  shareFixedContext,
  type UsedContexts,
} from "./used-contexts.ts";

export type CredentialSurroundings = {
  readonly credentials: CredentialBook;
  readonly used: UsedContexts;
  readonly quarantine: Quarantine;
  readonly transports: ServerTransports;
  readonly sessions: ProtectedSessions<unknown> | undefined;
  readonly server: Lwm2mServer;
  readonly write: (changes: readonly StoreChange[], then?: Written) => void;
  /** All that `act` leads to becomes one write, which is written until the store takes it; `then`: it was tried once. */
  readonly insistently: (now: Instant, act: () => void, then?: () => void) => void;
  /** The session ends for everything above it. */
  readonly closed: (session: SessionId, now: Instant) => void;
  /** Nobody travels in this carrier any more. */
  readonly release: (carrier: SessionId, now: Instant) => void;
};

/** One that was replaced or revoked. */
export type ChangedCredential = { readonly id: string; readonly endpoint: string };

/** It is durable; or it is not, and says why. */
type Done = (ok: boolean, why?: string) => void;

export class CredentialCommands {
  readonly #around: CredentialSurroundings;
  /** What waits for the command under way, by the credential's id. */
  readonly #waiting = new Map<string, (() => void)[]>();

  constructor(around: CredentialSurroundings) {
    this.#around = around;
  }

  /** Adds or replaces one. @throws UsageError for one that cannot be; nothing has changed then */
  add(credential: Credential, done: Done): void {
    const { credentials, sessions } = this.#around;
    if (credential.kind === "oscore") sessions?.check(credential);
    const id = credentialId(credential);
    if (this.#mustWait(id, () => this.#addLater(credential, done))) return;
    const before = credentials.get(id);
    const change = credentials.adding(credential);
    if (change.isKnown) return this.#commit(id, [change], done, (at) => this.#reopen(id, at));
    const isReplacing = credentials.ownerOf(id) !== undefined;
    const isUsed = credentials.isUnreadable(id) || this.#isUsed(credential, before);
    if (isUsed && credential.kind === "oscore" && credential.derivation === "fixed")
      throw new UsageError(credentials.isUnreadable(id) ? UNREADABLE : USED, "USED_SECRET");
    const { endpoint } = credential;
    const parts = [change, ...(isReplacing ? this.#leaving(id, endpoint, before) : [])];
    this.#commit(id, parts, done, (at) => {
      if (isReplacing) this.#cutOff(id, endpoint, before, at);
      // It proved nothing, and has to from now on.
      if (this.#around.server.registration(endpoint, at)?.identity.kind === "none")
        this.#around.server.handle({ type: "remove", endpoint, why: "refused" }, at);
      if (credential.kind === "oscore") this.open(credential, isUsed, at);
    });
  }

  /** Revokes one. */
  revoke(id: string, done: Done): void {
    const { credentials } = this.#around;
    if (this.#mustWait(id, () => this.revoke(id, done))) return;
    const credential = credentials.get(id);
    const endpoint = credentials.ownerOf(id);
    const change = credentials.removing(id);
    if (change === undefined || endpoint === undefined) return done(true); // it is gone, as was asked
    const parts = [change, ...this.#leaving(id, endpoint, credential)];
    this.#commit(id, parts, done, (at) => this.#cutOff(id, endpoint, credential, at));
  }

  /** A change of a credential that is durable, and that an earlier run did not finish. */
  resume({ id, endpoint }: ChangedCredential, now: Instant): void {
    this.#around.insistently(now, () => this.#cutOff(id, endpoint, undefined, now));
  }

  /** What a durable credential stands for has a session from now on. `used`: maybe it had one before, which is lost. */
  open(credential: OscoreCredential, used: boolean, now: Instant): void {
    const { credentials, quarantine, sessions, server, write } = this.#around;
    if (sessions === undefined) return;
    const isUsed = used || this.#isUsed(credential, undefined);
    if (isUsed && credential.derivation === "fixed")
      quarantine.note(UNKNOWN_NUMBERS, credentialId(credential), now);
    const identity = identityOf(credential);
    const generation = credentials.generationOf(identity);
    if (generation === undefined) throw new UsageError("a credential must be there to be opened");
    const session = isUsed
      ? sessions.addUsed(credential, generation, now)
      : sessions.add(credential, generation, now);
    server.handle({ type: "opened", session, identity }, now);
    write([sessions.change(session)]);
  }

  #addLater(credential: Credential, done: Done): void {
    try {
      this.add(credential, done);
    } catch (fault) {
      if (!(fault instanceof UsageError)) throw fault;
      done(false, fault.message);
    }
  }

  /** Whether numbers of the credential's fixed context were used, or may have been where new keys are possible. */
  #isUsed(credential: Credential, before: Credential | undefined): boolean {
    const { quarantine, used } = this.#around;
    if (credential.kind !== "oscore" || !mayUseFixedContext(credential)) return false;
    if (used.has(credential)) return true;
    if (
      credential.derivation === "both" &&
      (used.mayHave(credential) || quarantine.holds(USED_TABLE))
    )
      return true;
    return (
      before?.kind === "oscore" &&
      mayUseFixedContext(before) &&
      shareFixedContext(before, credential)
    );
  }

  /** What is written along with a credential that is revoked or replaced. */
  #leaving(
    id: string,
    endpoint: string,
    credential: Credential | undefined,
  ): readonly BookChange[] {
    const rows = [{ table: CHANGED_TABLE, key: id, value: utf8(endpoint) }];
    const changed = { rows, take: () => {} };
    if (credential === undefined && id.startsWith("oscore:"))
      return [changed, this.#around.used.noting(id)];
    if (credential?.kind !== "oscore" || !mayUseFixedContext(credential)) return [changed];
    return [changed, this.#around.used.noting(credential)];
  }

  /** Once the parts are durable, they are taken, and `then` does what follows from them. */
  #commit(
    id: string,
    parts: readonly BookChange[],
    done: Done,
    then: (now: Instant) => void,
  ): void {
    this.#waiting.set(id, []);
    this.#around.write(
      parts.flatMap(({ rows }) => rows),
      (ok, at, why) => {
        if (!ok) return this.#finished(id, () => done(false, why));
        for (const { take } of parts) take();
        const finished = (): void => this.#finished(id, () => done(true));
        this.#around.insistently(at, () => then(at), finished);
      },
    );
  }

  #finished(id: string, answer: () => void): void {
    answer();
    const next = this.#waiting.get(id) ?? [];
    this.#waiting.delete(id);
    for (const command of next) command();
  }

  /** Whether another command of the credential is under way. Then this one follows it. */
  #mustWait(id: string, command: () => void): boolean {
    const before = this.#waiting.get(id);
    before?.push(command);
    return before !== undefined;
  }

  /**
   * Nothing of a credential that was revoked or replaced goes on: its association and what it could be resumed by, its
   * session, its registration, what was set aside of it; and what waits for an endpoint that has no credential any more.
   */
  #cutOff(id: string, endpoint: string, credential: Credential | undefined, now: Instant): void {
    const { credentials, quarantine, transports, server, write } = this.#around;
    write(quarantine.forget(id));
    if (credential !== undefined) {
      transports.handle({ type: "revoke", identity: identityOf(credential) }, now);
      this.#close(id, now);
    }
    const registration = server.registration(endpoint, now);
    if (registration !== undefined && credentialIdOf(registration.identity) === id)
      server.handle({ type: "remove", endpoint, why: "revoked" }, now);
    if (!credentials.isSecured(endpoint)) {
      const reason = "the credential of the device was revoked";
      server.handle({ type: "forget", endpoint, reason }, now);
    }
    write([{ table: CHANGED_TABLE, key: id, value: undefined }]);
  }

  /** The session of a credential ends at once. */
  #close(id: string, now: Instant): void {
    const { sessions, closed, release, write } = this.#around;
    const removed = sessions?.remove(id, now);
    if (removed === undefined || sessions === undefined) return;
    closed(removed.session, now);
    if (removed.carrier !== undefined) release(removed.carrier, now);
    write([sessions.change(removed.session)]);
  }

  /** Added once more as it is, it keeps its session; where that is lost it has another, with other keys. */
  #reopen(id: string, now: Instant): void {
    const { credentials, sessions } = this.#around;
    const credential = credentials.get(id);
    if (credential?.kind !== "oscore" || sessions?.sessionOf(id) !== undefined) return;
    this.open(credential, true, now);
  }
}

/** What a record of `CHANGED_TABLE` says. @throws FormatError */
export function decodeChanged({ key, value }: StoredRecord): ChangedCredential {
  return { id: key, endpoint: fromUtf8(value) };
}

/** Credentials that were replaced or revoked, by id, with their endpoint: until all that was made of them is gone. */
export const CHANGED_TABLE = "credentialChange";
const UNKNOWN_NUMBERS =
  "nobody knows which numbers of its fixed context were used: give the device and the server a new master secret";
const USED =
  "this OSCORE master secret has been in use with the same ids, and a fixed context would use its nonces again: give the device and the server a new master secret, or use the derivation negotiated or both";
const UNREADABLE =
  "the record of this OSCORE credential cannot be read, and nobody knows which numbers of its fixed context were used: remove the credential first, then add it with a new master secret, or use the derivation negotiated or both";
