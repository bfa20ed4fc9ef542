// Register, from the moment it is admitted to its answer. Nothing changes in the registry before the store has it: if that
// refuses, whoever was registered still is.
//
//   begin ──> store: the new record in, the old ones out ──> stored ──> the old ones leave, the new one is registered ──> 2.01
//                                                               └─ refused ──> 5.03, and nothing has changed

import type { Instant, SessionId, StoreChange } from "@godwit/base";
import { Code, response as buildResponse, type ExchangeId } from "@godwit/coap";
import type { Registration as RegisterParameters } from "../registration.ts";
import type { Refusal } from "../refusal.ts";
import type { PendingEnrolment, ServerCore } from "./core.ts";
import type { Observing } from "./observing.ts";
import type { Orders } from "./orders.ts";
import { TABLES, encodeRegistration } from "./records.ts";
import { newRegistration, type Registration } from "./registration.ts";

/** A registration that is being written, and those that make room for it. */
export type Enrolment = {
  readonly exchange: ExchangeId;
  readonly registration: Registration;
  readonly leaving: ReadonlyMap<Registration, "replaced" | "evicted">;
};

export type Newcomer = {
  readonly exchange: ExchangeId;
  readonly session: SessionId;
  readonly endpoint: string;
  readonly parameters: RegisterParameters;
};

/** What the registration interface does for it. */
export type EnrollingHost = {
  /** Takes a registration out of memory. */
  readonly drop: (registration: Registration, why: "replaced" | "evicted", now: Instant) => void;
  /** Whether the session may still stand for the endpoint: a credential may have been revoked meanwhile. */
  readonly admit: (session: SessionId, endpoint: string) => string | Refusal;
};

export class Enrolling {
  readonly #core: ServerCore;
  readonly #orders: Orders;
  readonly #observing: Observing;
  readonly #host: EnrollingHost;
  /** Being written, by session and by endpoint: a storm of Registers waits for one disk. */
  readonly #bySession = new Map<SessionId, Enrolment[]>();
  readonly #byEndpoint = new Map<string, Enrolment[]>();
  readonly #ids = new Set<string>();
  #unproven = 0;

  constructor(core: ServerCore, orders: Orders, observing: Observing, host: EnrollingHost) {
    this.#core = core;
    this.#orders = orders;
    this.#observing = observing;
    this.#host = host;
  }

  /** How many are being written. */
  get size(): number {
    return this.#ids.size;
  }

  /** The registration that is being written for a session, the first if there are several. */
  bySession(session: SessionId): Registration | undefined {
    return this.#bySession.get(session)?.[0]?.registration;
  }

  begin({ exchange, session, endpoint, parameters }: Newcomer, now: Instant): void {
    const identity = this.#core.identity(session);
    const proven = identity.kind !== "none";
    const leaving = this.#leavingFor(session, endpoint, proven);
    const registration = newRegistration({
      id: this.#locationId(proven),
      endpoint,
      session,
      identity,
      lifetime: parameters.lifetime,
      version: parameters.lwm2m,
      binding: parameters.binding,
      queueMode: parameters.queue,
      sms: parameters.sms,
      objects: this.#core.objectLists.shared(parameters.objects ?? NO_OBJECTS),
      registeredAt: now,
      now,
    });
    registration.proven = proven;
    registration.expiresAt = this.#core.expiryOf(registration, now);
    const changes: StoreChange[] = [];
    for (const old of leaving.keys()) {
      changes.push(...this.#core.forgetting(old));
      this.#core.leaving.add(old);
      this.#core.registry.suspend(old);
      if (old.session !== session) this.#core.emit({ type: "unkeep", session: old.session });
    }
    changes.push(
      {
        table: TABLES.registration,
        key: registration.id,
        value: encodeRegistration(registration),
      },
      this.#core.touchChange(registration),
    );
    this.#core.emit({ type: "pin", session });
    const enrolment = { exchange, registration, leaving };
    this.#note(enrolment);
    this.#core.store(changes, { kind: "register", enrolment });
  }

  /** A session carries one registration, an endpoint has one; at the limit the oldest that nobody has proven makes room. */
  #leavingFor(
    session: SessionId,
    endpoint: string,
    proven: boolean,
  ): Map<Registration, "replaced" | "evicted"> {
    const { registry, tuning } = this.#core;
    const leaving = new Map<Registration, "replaced" | "evicted">();
    for (const old of [registry.byEndpoint(endpoint), registry.bySession(session)])
      if (old !== undefined) leaving.set(old, "replaced");
    for (const one of this.#byEndpoint.get(endpoint) ?? [])
      leaving.set(one.registration, "replaced");
    for (const one of this.#bySession.get(session) ?? []) leaving.set(one.registration, "replaced");
    if (proven) return leaving;
    let unproven = registry.unproven + this.#unproven;
    for (const old of leaving.keys()) if (registry.isUnproven(old)) unproven -= 1;
    const oldest = registry.oldestUnproven();
    if (unproven >= tuning.maxUnproven && oldest !== undefined && !leaving.has(oldest))
      leaving.set(oldest, "evicted");
    return leaving;
  }

  /** Whether another Register of the same endpoint or session ends it as well. */
  #leavesOtherwise(old: Registration, { registration }: Enrolment): boolean {
    const beside = [
      ...(this.#byEndpoint.get(registration.endpoint) ?? []),
      ...(this.#bySession.get(registration.session) ?? []),
    ];
    return beside.some((one) => one.registration !== registration && one.leaving.has(old));
  }

  #note(enrolment: Enrolment): void {
    const { id, session, endpoint, proven } = enrolment.registration;
    this.#ids.add(id);
    if (!proven) this.#unproven += 1;
    listed(this.#bySession, session).push(enrolment);
    listed(this.#byEndpoint, endpoint).push(enrolment);
  }

  #forget(enrolment: Enrolment): void {
    const { id, session, endpoint, proven } = enrolment.registration;
    this.#ids.delete(id);
    if (!proven) this.#unproven -= 1;
    unlist(this.#bySession, session, enrolment);
    unlist(this.#byEndpoint, endpoint, enrolment);
  }

  /** Nobody can be spoken to there until there is a new association. */
  closed(session: SessionId): void {
    const registration = this.bySession(session);
    if (registration !== undefined) registration.reach.silent = true;
  }

  stored({ enrolment }: PendingEnrolment, refusal: string | undefined, now: Instant): void {
    const { exchange, registration, leaving } = enrolment;
    const { session, endpoint } = registration;
    if (refusal !== undefined) {
      for (const old of leaving.keys()) {
        if (!this.#leavesOtherwise(old, enrolment)) this.#core.leaving.delete(old);
        this.#core.registry.resume(old);
      }
      this.#letGo(enrolment);
      return this.#core.refuseForNow(exchange, session, refusal, endpoint);
    }
    const replaced = [...leaving.values()].includes("replaced");
    for (const [old, why] of leaving) {
      if (this.#core.registry.byId(old.id) === old) this.#host.drop(old, why, now);
    }
    const admitted = this.#host.admit(session, endpoint);
    if (typeof admitted !== "string") {
      this.#letGo(enrolment);
      this.#core.record(this.#core.forgetting(registration));
      return this.#core.refuse(exchange, session, admitted, endpoint);
    }
    this.#core.registry.add(registration);
    this.#forget(enrolment);
    this.#core.registry.expireAt(
      registration,
      registration.expiresAt,
      this.#core.tuning.lifetimeGrace,
    );
    this.#orders.takeQueue(registration, now);
    const locationPath = ["rd", registration.id];
    this.#core.respond(exchange, buildResponse(Code.Created, { locationPath }));
    this.#core.emit({
      type: "registered",
      registration: this.#core.view(registration, now),
      replaced,
    });
    this.#observing.registered(registration, now);
    this.#orders.flush(registration, now);
  }

  /** Nothing refers to the session for this one. */
  #letGo(enrolment: Enrolment): void {
    const { session } = enrolment.registration;
    this.#forget(enrolment);
    if (this.#core.registry.bySession(session) !== undefined) return;
    if (this.bySession(session) === undefined) this.#core.emit({ type: "unpin", session });
  }

  /** Not one that is in use, or still to be deleted from the store. */
  #locationId(bound: boolean): string {
    const { boundLocationLength, openLocationLength } = this.#core.tuning;
    for (let attempt = 0; ; attempt++) {
      const length = bound
        ? boundLocationLength + Math.floor(attempt / TRIES_PER_LENGTH)
        : openLocationLength;
      let id = "";
      for (const byte of this.#core.around.rng.bytes(length)) id += ALPHABET[byte & 63];
      if (!this.#isTaken(id)) return id;
    }
  }

  #isTaken(id: string): boolean {
    if (this.#core.registry.byId(id) !== undefined || this.#ids.has(id)) return true;
    return this.#core.unwritten.has(TABLES.registration, id);
  }
}

function listed<K>(lists: Map<K, Enrolment[]>, key: K): Enrolment[] {
  const there = lists.get(key);
  if (there !== undefined) return there;
  const made: Enrolment[] = [];
  lists.set(key, made);
  return made;
}

function unlist<K>(lists: Map<K, Enrolment[]>, key: K, enrolment: Enrolment): void {
  const left = (lists.get(key) ?? []).filter((one) => one !== enrolment);
  if (left.length > 0) lists.set(key, left);
  else lists.delete(key);
}

const NO_OBJECTS = { root: [], formats: [], objects: [] };
/** How many ids are tried before a longer one is. */
const TRIES_PER_LENGTH = 4;
/** 64 characters that need no escaping in a path. */
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
