// Credentials come and go, and with them all that was made of them:
//
//   add     credential ──┐                        ┌── stored: OSCORE's session begins
//   replace credential ──┼─▶ what was made of the ─▶ one write
//   revoke  its absence ─┘   old one goes         └── refused: nothing has changed for good
//
// What goes, goes at once from memory; whoever asked hears of it when it is durable.

import { UsageError, type Instant, type SessionId, type StoreChange } from "@godwit/base";
import type { ServerTransports } from "../server-transports.ts";
import type { CredentialBook } from "./credential-book.ts";
import {
  credentialId,
  credentialIdOf,
  identityOf,
  sameCredential,
  type Credential,
} from "./credential.ts";
import type { OscoreCredential, ProtectedSessions } from "./protected-sessions.ts";
import type { Quarantine } from "./quarantine.ts";
import type { Lwm2mServer } from "./server.ts";
import type { Written } from "./store-writes.ts";

export type CredentialSurroundings = {
  readonly credentials: CredentialBook;
  readonly quarantine: Quarantine;
  readonly transports: ServerTransports;
  readonly sessions: ProtectedSessions<unknown> | undefined;
  readonly server: Lwm2mServer;
  readonly write: (changes: readonly StoreChange[]) => void;
  /** All that `act` leads to becomes one write. */
  readonly atomically: (now: Instant, act: () => void, then?: Written) => void;
  /** The session ends for everything above it. */
  readonly closed: (session: SessionId, now: Instant) => void;
  /** Nobody travels in this carrier any more. */
  readonly release: (carrier: SessionId, now: Instant) => void;
};

/** It is durable; or it is not, and says why. */
type Done = (ok: boolean, why?: string) => void;

export class CredentialCommands {
  readonly #around: CredentialSurroundings;

  constructor(around: CredentialSurroundings) {
    this.#around = around;
  }

  /** Adds or replaces one. @throws UsageError for one that cannot be; nothing has changed then */
  add(credential: Credential, done: Done, now: Instant): void {
    const { credentials, server, sessions, write, atomically } = this.#around;
    if (credential.kind === "oscore") sessions?.check(credential);
    const id = credentialId(credential);
    const before = credentials.get(id);
    const { undo } = credentials.remember(id);
    const changes = credentials.add(credential);
    const known = before !== undefined && sameCredential(before, credential);
    const { endpoint } = credential;
    atomically(
      now,
      () => {
        write(changes);
        if (!known) this.#cutOff(id, endpoint, before, now);
        // It proved nothing, and has to from now on.
        if (server.registration(endpoint, now)?.identity.kind === "none")
          server.handle({ type: "remove", endpoint, why: "refused" }, now);
      },
      (ok, at, why) => {
        if (ok) this.#added(credential, at);
        else {
          undo();
          this.#reopen(id, at);
        }
        done(ok, why);
      },
    );
  }

  /** Revokes one. */
  revoke(id: string, done: Done, now: Instant): void {
    const { credentials, server, write, atomically } = this.#around;
    const credential = credentials.get(id);
    const endpoint = credentials.ownerOf(id);
    const { undo } = credentials.remember(id);
    const changes = credentials.remove(id);
    if (changes === undefined || endpoint === undefined) return done(true); // it is gone, as was asked
    atomically(
      now,
      () => {
        write(changes);
        this.#cutOff(id, endpoint, credential, now);
        if (credentials.isSecured(endpoint)) return; // it has another, and what is asked of it waits for that
        const reason = "the credential of the device was revoked";
        server.handle({ type: "forget", endpoint, reason }, now);
      },
      (ok, at, why) => {
        if (!ok) {
          undo();
          this.#reopen(id, at);
        }
        done(ok, why);
      },
    );
  }

  /** What a durable credential stands for has a session from now on. `used`: maybe it had one before, which is lost. */
  open(credential: OscoreCredential, used: boolean, now: Instant): void {
    const { credentials, quarantine, sessions, server, write } = this.#around;
    if (sessions === undefined) return;
    if (used && credential.derivation === "fixed")
      quarantine.note(UNKNOWN_NUMBERS, credentialId(credential), now);
    const identity = identityOf(credential);
    const generation = credentials.generationOf(identity);
    if (generation === undefined) throw new UsageError("a credential must be there to be opened");
    const session = used
      ? sessions.addUsed(credential, generation, now)
      : sessions.add(credential, generation, now);
    server.handle({ type: "opened", session, identity }, now);
    write([sessions.change(session)]);
  }

  /**
   * Nothing of a credential that was revoked or replaced goes on: its association and what it could be resumed by, its
   * session, its registration, what was set aside of it.
   */
  #cutOff(id: string, endpoint: string, credential: Credential | undefined, now: Instant): void {
    const { quarantine, transports, server, write } = this.#around;
    write(quarantine.forget(id));
    if (credential !== undefined)
      transports.handle({ type: "revoke", identity: identityOf(credential) }, now);
    this.#close(id, now);
    const registration = server.registration(endpoint, now);
    if (registration !== undefined && credentialIdOf(registration.identity) === id)
      server.handle({ type: "remove", endpoint, why: "revoked" }, now);
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

  /**
   * Added once more as it is, it keeps its session: a fixed context begun anew would use its numbers twice. Meanwhile it may have been
   * revoked or replaced.
   */
  #added(credential: Credential, now: Instant): void {
    const id = credentialId(credential);
    if (credential.kind !== "oscore" || this.#isOpen(id)) return;
    if (this.#around.credentials.get(id) !== credential) return;
    this.#around.atomically(now, () => this.open(credential, false, now));
  }

  /** The store refused: the credential stays, and its device comes back with new keys, for the old ones are gone from memory. */
  #reopen(id: string, now: Instant): void {
    const credential = this.#around.credentials.get(id);
    if (credential?.kind !== "oscore" || this.#isOpen(id)) return;
    this.#around.atomically(now, () => this.open(credential, true, now));
  }

  #isOpen(id: string): boolean {
    return this.#around.sessions?.sessionOf(id) !== undefined;
  }
}

const UNKNOWN_NUMBERS =
  "nobody knows which numbers of its fixed context were used: give the device and the server a new master secret";
