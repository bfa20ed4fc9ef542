// The LwM2M server, without I/O: who is registered, what they are owed, and when they can be spoken to.
//
//   Register / Update / De-register ──> refuse, or change the registry ──> store ──> stored ──> answer
//   operate ──> queue ──> store ──> stored: accepted ──> (device can hear it) ──> request ──> response ──> store ──> done
//                          ▲                                                        │
//                          └──────────── no answer: wait for its next word ─────────┘
//
// Nothing is answered before it is durable. A device is only ever named by its session: no address is known here.

import {
  FormatError,
  UsageError,
  earlier,
  unreachable,
  type Instant,
  type Machine,
  type StoredInput,
} from "@godwit/base";
import { ServerCore, type ServerSurroundings } from "./core.ts";
import type { ServerInput, ServerOutput, StoredRecord, StoredTables } from "./events.ts";
import { isFinal, viewOperation, type Operation, type OperationView } from "./operation.ts";
import { Orders } from "./orders.ts";
import { decodeObservation, decodeOperation, decodeRegistration, decodeTouch } from "./records.ts";
import { Registering } from "./registering.ts";
import type { Registration, RegistrationView } from "./registration.ts";
import { notAhead, restoredExpiry, restoredOperation } from "./restored-times.ts";
import { serverTuning, type ServerTuning } from "./tuning.ts";

export class Lwm2mServer implements Machine<ServerInput, ServerOutput> {
  readonly #core: ServerCore;
  readonly #orders: Orders;
  readonly #registering: Registering;

  constructor(around: ServerSurroundings, tuning: Partial<ServerTuning> = {}) {
    this.#core = new ServerCore(around, { ...serverTuning, ...tuning });
    this.#orders = new Orders(this.#core);
    this.#registering = new Registering(this.#core, this.#orders);
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

  get registrationCount(): number {
    return this.#core.registry.size;
  }

  registration(endpoint: string, now: Instant): RegistrationView | undefined {
    const found = this.#core.registry.byEndpoint(endpoint);
    return found && this.#core.view(found, now);
  }

  /** The names of all registered endpoints, in no order. */
  *endpoints(): IterableIterator<string> {
    for (const { endpoint } of this.#core.registry.all()) yield endpoint;
  }

  *registrations(now: Instant): IterableIterator<RegistrationView> {
    for (const registration of this.#core.registry.all()) yield this.#core.view(registration, now);
  }

  operation(id: number): OperationView | undefined {
    const found = this.#core.operations.get(id);
    return found && viewOperation(found);
  }

  operationsOf(endpoint: string): readonly OperationView[] {
    return this.#core.operations.of(endpoint).map(viewOperation);
  }

  observationsOf(endpoint: string): readonly string[] {
    return this.#core.observations.of(endpoint).map(({ path }) => path);
  }

  /** A number for a new operation; see `operate`. */
  operationId(now: Instant): number {
    return this.#core.operationId(now);
  }

  get wakeAt(): Instant | undefined {
    return earlier(
      this.#registering.wakeAt,
      earlier(
        earlier(this.#core.operations.nextDeadline, this.#core.unwritten.wakeAt),
        this.#orders.wakeAt,
      ),
    );
  }

  poll(): ServerOutput | undefined {
    return this.#core.out.take();
  }

  // ── starting ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Takes back what an earlier run promised. Call once, before any input. Returns how many records could not be read;
   * they are left alone in the store.
   */
  restore(tables: StoredTables, now: Instant): { readonly unreadable: number } {
    const { registry, operations, observations, tuning, out } = this.#core;
    let unreadable = 0;
    const each = <T>(
      records: Iterable<StoredRecord>,
      decode: (bytes: Uint8Array) => T,
      take: (value: T, key: string) => void,
    ): void => {
      for (const { key, value } of records) {
        try {
          take(decode(value), key);
        } catch (fault) {
          if (!(fault instanceof FormatError)) throw fault;
          unreadable += 1;
        }
      }
    };
    each(tables.registrations, decodeRegistration, (registration) => {
      registration.objects = this.#core.objectLists.shared(registration.objects);
      registry.add(registration);
      registry.prove(registration);
    });
    each(tables.touches, decodeTouch, (touch, id) => {
      const registration = registry.byId(id);
      if (registration === undefined) return;
      registration.updatedAt = notAhead(touch.updatedAt, now);
      registration.reach.seenAt = registration.updatedAt;
      registry.move(registration, touch.session);
      const at = restoredExpiry(registration.lifetime, touch.expiresAt, now, tuning.restartGrace);
      registry.expireAt(registration, at, tuning.lifetimeGrace);
    });
    const kept: Operation[] = [];
    each(tables.operations, decodeOperation, (operation) => {
      kept.push(restoredOperation(operation, now));
    });
    for (const operation of kept.toSorted((a, b) => a.id - b.id)) {
      operations.add(operation, now + tuning.restartGrace);
      this.#core.lastId = Math.max(this.#core.lastId, operation.id);
      if (!isFinal(operation.state)) {
        registry.byEndpoint(operation.endpoint)?.queue.push(operation);
      }
    }
    const lapsed = new Set<Registration>();
    each(tables.observations, decodeObservation, (observation) => {
      const registration = registry.byEndpoint(observation.endpoint);
      observations.add({ ...observation, active: registration !== undefined });
      this.#core.lastId = Math.max(this.#core.lastId, observation.id);
      if (registration === undefined) return;
      if (registration.identity.kind === "oscore") lapsed.add(registration);
      else this.#orders.resume(observation, registration.session);
    });
    // RFC 8613 B.1.3: what notifications are bound to is lost; they are asked for again.
    for (const registration of lapsed) this.#orders.observeAgain(registration, now);
    for (const registration of registry.all()) {
      out.push({ type: "pin", session: registration.session });
    }
    return { unreadable };
  }

  // ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

  handle(input: ServerInput, now: Instant): void {
    switch (input.type) {
      case "request":
        return this.#registering.request(input.exchange, input.session, input.request, now);
      case "fragment":
        return this.#registering.fragment(input.exchange, input.session, input.request);
      case "response":
        return this.#orders.answered(input, now);
      case "failed":
        if (this.#registering.asksIncumbent(input.id)) {
          return this.#registering.incumbentSilent(input.id, now);
        }
        return this.#orders.unanswered(input.id, input.reason, now);
      case "renamed":
        return this.#orders.renamed(input.id, input.again);
      case "alive":
        return this.#orders.seen(input.session, now);
      case "pong":
        return this.#registering.incumbentAnswered(input.id, now);
      case "unobserved": // nothing of ours is observed
        return;
      case "opened":
        if (input.identity.kind !== "none") {
          this.#core.identities.set(input.session, input.identity);
          this.#core.identityChanges += 1;
          this.#registering.opened(input.session, input.identity);
        }
        return;
      case "closed":
        if (this.#core.identities.delete(input.session)) this.#core.identityChanges += 1;
        return this.#registering.closed(input.session);
      case "moved":
        return this.#registering.moved(input.session);
      case "stored":
        return this.#stored(input, now);
      case "operate":
        return this.#orders.accept(input, now);
      case "cancelOperation":
        return this.#orders.cancel(input.id, now);
      case "remove":
        return this.#registering.remove(input.endpoint, now);
      default:
        return unreachable(input);
    }
  }

  wake(now: Instant): void {
    this.#registering.wake(now);
    this.#orders.wake(now);
    this.#core.recordDue(now);
    const { operations } = this.#core;
    for (let o = operations.due(now); o !== undefined; o = operations.due(now)) {
      if (isFinal(o.state)) this.#orders.forget(o);
      else this.#orders.end(o, { name: "expired", at: now }, now);
    }
  }

  #stored({ ticket, ok, why }: StoredInput, now: Instant): void {
    const refusal = ok ? undefined : (why ?? "the store refused it");
    const pending = this.#core.pending.take(ticket);
    if (pending === undefined) throw new UsageError(`ticket ${ticket} is not open`);
    switch (pending.kind) {
      case "register":
        return this.#registering.enrolled(pending, refusal, now);
      case "update":
      case "deregister":
        return this.#registering.stored(pending, refusal, now);
      case "accept":
      case "dispatch":
      case "rename":
      case "finish":
        return this.#orders.stored(pending, refusal, now);
      case "record":
        if (!ok) this.#core.recordLater(pending.changes, now);
        return;
      default:
        return unreachable(pending);
    }
  }
}
