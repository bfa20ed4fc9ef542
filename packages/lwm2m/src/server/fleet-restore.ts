// Registrations, operations and observations of an earlier run, as far as they can go on. A row that cannot is set aside
// with the reason; what refers to it goes on without it.

import { FormatError, type Instant, type SessionId } from "@godwit/base";
import type { ServerCore } from "./core.ts";
import type { StoredRecord } from "./events.ts";
import { isFinal, type Operation } from "./operation.ts";
import { decodeObservation } from "./observation-record.ts";
import { observationKey } from "./observations.ts";
import type { Observing } from "./observing.ts";
import {
  TABLES,
  decodeOperation,
  decodeRegistration,
  decodeTouch,
  operationKey,
  type Touch,
} from "./records.ts";
import type { Registration } from "./registration.ts";
import { notAhead, restoredExpiry, restoredOperation } from "./restored-times.ts";

/** What the rows need to know of the world around them. */
export type FleetGuide = {
  /** Whether the rows are the newest there were. Those of a directory that was put back may be older than what devices know. */
  readonly trusted: boolean;
  /** Hands each row to `take`, and sets aside what is damaged or what `take` throws at. */
  readonly each: (table: string, take: (row: StoredRecord) => void) => void;
  /** Where the device is: the session of this number that is open, or the one its identity has now. */
  readonly sessionOf: (registration: Registration) => SessionId | undefined;
  /** A number for a registration whose session is lost. No session has it. */
  readonly nowhere: () => SessionId;
  /** Why the registration may not go on, if so. */
  readonly refusal: (registration: Registration) => "revoked" | "refused" | undefined;
};

export function restoreFleet(
  core: ServerCore,
  observing: Observing,
  guide: FleetGuide,
  now: Instant,
): readonly Registration[] {
  return new FleetRestore(core, observing, guide, now).run();
}

class FleetRestore {
  readonly #core: ServerCore;
  readonly #observing: Observing;
  readonly #guide: FleetGuide;
  readonly #now: Instant;
  readonly #touches = new Map<string, Touch>();

  constructor(core: ServerCore, observing: Observing, guide: FleetGuide, now: Instant) {
    this.#core = core;
    this.#observing = observing;
    this.#guide = guide;
    this.#now = now;
  }

  /** Returns the registrations that must end. */
  run(): readonly Registration[] {
    this.#registrations();
    const { registry } = this.#core;
    for (const registration of [...registry.all()]) this.#settle(registration);
    this.#operations();
    this.#observations();
    const ending = [...registry.all()].filter((one) => this.#guide.refusal(one) !== undefined);
    for (const registration of registry.all())
      if (!this.#core.lost.has(registration.session))
        this.#core.out.push({ type: "pin", session: registration.session });
    return ending;
  }

  #registrations(): void {
    const { registry, objectLists } = this.#core;
    const known = new Map<string, Registration>();
    this.#guide.each(TABLES.registration, ({ key, value }) => {
      const registration = decodeRegistration(value);
      if (registration.id !== key)
        throw new FormatError(`registration ${registration.id} under the key of another`);
      known.set(key, registration);
    });
    this.#guide.each(TABLES.touch, ({ key, value }) => {
      const touch = decodeTouch(value);
      if (!known.has(key)) throw new FormatError("its registration is not there");
      this.#touches.set(key, touch);
    });
    // An endpoint has one registration: the latest, should a row of an older one be there as well.
    const latest = (one: Registration): Instant =>
      Math.max(one.registeredAt, this.#touches.get(one.id)?.updatedAt ?? 0);
    for (const registration of [...known.values()].toSorted((a, b) => latest(b) - latest(a))) {
      if (registry.byEndpoint(registration.endpoint) !== undefined) {
        this.#core.record(this.#core.forgetting(registration));
        continue;
      }
      registration.objects = objectLists.shared(registration.objects);
      const touch = this.#touches.get(registration.id);
      if (touch !== undefined) registration.session = touch.session;
      registration.session = this.#place(registration);
      registry.add(registration);
      registry.prove(registration);
    }
  }

  /** The session in which it is reached from now on. */
  #place(registration: Registration): SessionId {
    const session = this.#guide.sessionOf(registration);
    if (session !== undefined && this.#core.registry.bySession(session) === undefined)
      return session;
    registration.reach.silent = true;
    const nowhere = this.#guide.nowhere();
    this.#core.lost.add(nowhere);
    return nowhere;
  }

  #settle(registration: Registration): void {
    const { registry, tuning } = this.#core;
    const touch = this.#touches.get(registration.id);
    const updatedAt = notAhead(touch?.updatedAt ?? registration.registeredAt, this.#now);
    registration.updatedAt = updatedAt;
    registration.reach.seenAt = updatedAt;
    const { lifetime } = registration;
    const noted =
      touch === undefined && lifetime > 0 ? updatedAt + lifetime * 1_000 : touch?.expiresAt;
    const at = restoredExpiry(lifetime, noted, this.#now, tuning.restartGrace);
    registry.expireAt(registration, at, tuning.lifetimeGrace);
  }

  #operations(): void {
    const { registry, operations } = this.#core;
    const kept: Operation[] = [];
    this.#guide.each(TABLES.operation, ({ key, value }) => {
      const operation = decodeOperation(value);
      if (operationKey(operation.id) !== key)
        throw new FormatError(`operation ${operation.id} under the key of another`);
      kept.push(restoredOperation(operation, this.#now));
    });
    // Numbers of releases before this one are larger than those that are given out now.
    for (const operation of kept.toSorted((a, b) => a.createdAt - b.createdAt || a.id - b.id)) {
      operations.add(operation, this.#now + this.#core.tuning.restartGrace);
      this.#core.lastId = Math.max(this.#core.lastId, operation.id);
      if (!isFinal(operation.state)) {
        registry.byEndpoint(operation.endpoint)?.queue.push(operation);
      }
    }
  }

  #observations(): void {
    this.#guide.each(TABLES.observation, ({ key, value }) => {
      const stored = decodeObservation(value);
      if (observationKey(stored) !== key)
        throw new FormatError(`the observation of ${stored.path} under the key of another`);
      this.#observing.restore(stored, this.#guide.trusted, this.#now);
    });
    for (const operation of this.#core.operations.all())
      if (operation.kind === "observe" && !isFinal(operation.state))
        this.#observing.restoreOrder(operation, this.#now);
  }
}
