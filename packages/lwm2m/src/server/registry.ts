import { Deadlines, SelfKeyed, byNumber, type Instant, type SessionId } from "@godwit/base";
import { Queue } from "./queue.ts";
import type { Registration } from "./registration.ts";

/**
 * Who is registered, found by Location id, by endpoint name and by session. One endpoint has one registration; a session
 * carries at most one.
 */
export class Registry {
  readonly #byId = new Map<string, Registration>();
  readonly #byEndpoint = new Map<string, Registration>();
  readonly #bySession = new SelfKeyed(BY_SESSION);
  readonly #expiry = new Deadlines<Registration>();
  /** Registrations nobody has proven yet. */
  readonly #unproven = new Queue<Registration>();

  get size(): number {
    return this.#byId.size;
  }

  get unproven(): number {
    return this.#unproven.size;
  }

  /** No lifetime ends before this instant. */
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
    this.#bySession.set(registration);
    if (!registration.proven) this.#unproven.add(registration);
  }

  remove(registration: Registration): void {
    this.#byId.delete(registration.id);
    this.#unproven.delete(registration);
    this.#expiry.stop(registration);
    if (this.#byEndpoint.get(registration.endpoint) === registration) {
      this.#byEndpoint.delete(registration.endpoint);
    }
    this.#bySession.delete(registration);
  }

  /** The registration is reached through another session from now on. */
  move(registration: Registration, session: SessionId): void {
    this.#bySession.delete(registration); // before its key changes
    registration.session = session;
    this.#bySession.set(registration);
  }

  prove(registration: Registration): void {
    if (registration.proven) return;
    registration.proven = true;
    this.#unproven.delete(registration);
  }

  oldestUnproven(): Registration | undefined {
    return this.#unproven.first;
  }

  /** Whether it is counted among those that nobody has proven. */
  isUnproven(registration: Registration): boolean {
    return this.#unproven.has(registration);
  }

  /** Its end is being written: it makes room for nobody any more. */
  suspend(registration: Registration): void {
    this.#unproven.delete(registration);
  }

  /** Its end was not written. */
  resume(registration: Registration): void {
    if (!registration.proven && this.byId(registration.id) === registration)
      this.#unproven.add(registration);
  }

  /** Lifetime runs until `at`; `undefined`: for ever. */
  expireAt(registration: Registration, at: Instant | undefined, grace: number): void {
    registration.expiresAt = at;
    if (at === undefined) return this.#expiry.stop(registration);
    // Put off: seen when the time noted comes. So an Update does not move it through millions of others.
    const noted = this.#expiry.at(registration);
    if (noted === undefined || noted > at + grace) this.#expiry.set(registration, at + grace);
  }

  /** Takes out one registration whose lifetime (with grace) is over. */
  expired(now: Instant, grace: number): Registration | undefined {
    for (;;) {
      const registration = this.#expiry.expired(now);
      if (registration?.expiresAt === undefined) return undefined; // who has a deadline may end
      const at = registration.expiresAt + grace;
      if (at <= now) return registration;
      this.#expiry.set(registration, at);
    }
  }
}

const BY_SESSION = byNumber(({ session }: Registration) => session);
