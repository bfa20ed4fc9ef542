import { Deadlines, type Instant, type SessionId } from "@godwit/base";
import type { Registration } from "./registration.ts";

/**
 * Who is registered, found by Location id, by endpoint name and by session. One endpoint has one registration; a session
 * carries at most one.
 */
export class Registry {
  readonly #byId = new Map<string, Registration>();
  readonly #byEndpoint = new Map<string, Registration>();
  readonly #bySession = new Map<SessionId, Registration>();
  readonly #expiry = new Deadlines<string>();
  /** Registrations nobody has proven yet, oldest first. */
  readonly #unproven = new Map<string, Registration>();

  get size(): number {
    return this.#byId.size;
  }

  get unproven(): number {
    return this.#unproven.size;
  }

  /** The next instant at which a lifetime ends. */
  get nextExpiry(): Instant | undefined {
    return this.#expiry.next;
  }

  all(): IterableIterator<Registration> {
    return this.#byId.values();
  }

  byId(id: string): Registration | undefined {
    return this.#byId.get(id);
  }

  byEndpoint(endpoint: string): Registration | undefined {
    return this.#byEndpoint.get(endpoint);
  }

  bySession(session: SessionId): Registration | undefined {
    return this.#bySession.get(session);
  }

  add(registration: Registration): void {
    this.#byId.set(registration.id, registration);
    this.#byEndpoint.set(registration.endpoint, registration);
    this.#bySession.set(registration.session, registration);
    if (!registration.proven) this.#unproven.set(registration.id, registration);
  }

  remove(registration: Registration): void {
    this.#byId.delete(registration.id);
    this.#unproven.delete(registration.id);
    this.#expiry.stop(registration.id);
    if (this.#byEndpoint.get(registration.endpoint) === registration) {
      this.#byEndpoint.delete(registration.endpoint);
    }
    if (this.#bySession.get(registration.session) === registration) {
      this.#bySession.delete(registration.session);
    }
  }

  /** The registration is reached through another session from now on. */
  move(registration: Registration, session: SessionId): void {
    if (this.#bySession.get(registration.session) === registration) {
      this.#bySession.delete(registration.session);
    }
    registration.session = session;
    this.#bySession.set(session, registration);
  }

  prove(registration: Registration): void {
    registration.proven = true;
    this.#unproven.delete(registration.id);
  }

  oldestUnproven(): Registration | undefined {
    for (const registration of this.#unproven.values()) return registration;
    return undefined;
  }

  /** Lifetime runs until `at`; `undefined`: for ever. */
  expireAt(registration: Registration, at: Instant | undefined, grace: number): void {
    registration.expiresAt = at;
    if (at === undefined) this.#expiry.stop(registration.id);
    else this.#expiry.set(registration.id, at + grace);
  }

  /** Takes out one registration whose lifetime (with grace) is over. */
  expired(now: Instant): Registration | undefined {
    const id = this.#expiry.expired(now);
    return id === undefined ? undefined : this.#byId.get(id);
  }
}
