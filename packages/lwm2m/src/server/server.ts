// The LwM2M server, without I/O: who is registered, what they are owed, and when they can be spoken to.
//
//   Register / Update / De-register ──> refuse, or change the registry ──> store ──> stored ──> answer
//   operate ──> queue ──> store ──> stored: accepted ──> (device can hear it) ──> request ──> response ──> store ──> done
//                          ▲                                                        │
//                          └──────────── no answer: wait for its next word ─────────┘
//
// Nothing is answered before it is durable. A device is only ever named by its session: no address is known here.

import {
  UsageError,
  earlier,
  unreachable,
  type Instant,
  type Machine,
  type SessionId,
  type SlottedId,
  type StoredInput,
} from "@godwit/base";
import { ServerCore, type ServerSurroundings } from "./core.ts";
import type { ServerInput, ServerOutput } from "./events.ts";
import { FirstRound } from "./first-round.ts";
import { restoreFleet, type FleetGuide } from "./fleet-restore.ts";
import { isFinal, viewOperation, type OperationView } from "./operation.ts";
import { Orders } from "./orders.ts";
import type { ObservationView } from "./observation-view.ts";
import { Observing } from "./observing.ts";
import { Registering } from "./registering.ts";
import type { Registration, RegistrationView } from "./registration.ts";
import { serverTuning, type ServerTuning } from "./tuning.ts";

export class Lwm2mServer implements Machine<ServerInput, ServerOutput> {
  readonly #core: ServerCore;
  readonly #orders: Orders;
  readonly #observing: Observing;
  readonly #registering: Registering;
  readonly #firstRound: FirstRound;

  constructor(around: ServerSurroundings, tuning: Partial<ServerTuning> = {}) {
    this.#core = new ServerCore(around, { ...serverTuning, ...tuning });
    this.#observing = new Observing(this.#core);
    this.#orders = new Orders(this.#core, this.#observing);
    this.#registering = new Registering(this.#core, this.#orders, this.#observing);
    this.#firstRound = new FirstRound(this.#core.tuning);
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
    return this.#core.operations
      .of(endpoint)
      .filter(({ internal }) => internal !== true)
      .map(viewOperation);
  }

  /** What is wanted of the endpoint, and whether it reports. */
  observationsOf(endpoint: string, now: Instant): readonly ObservationView[] {
    return this.#core.observations
      .of(endpoint)
      .flatMap((one) => this.#observing.view(one, now) ?? []);
  }

  /** A number for a new operation; see `operate`. */
  operationId(): SlottedId {
    return this.#core.operationId();
  }

  get wakeAt(): Instant | undefined {
    return earlier(
      this.#registering.wakeAt,
      earlier(
        earlier(this.#core.operations.nextDeadline, this.#core.unwritten.wakeAt),
        earlier(earlier(this.#observing.wakeAt, this.#orders.wakeAt), this.#firstRound.wakeAt),
      ),
    );
  }

  /** Whether what this session has to say can come to anything but a refusal. */
  isWelcome(session: SessionId): boolean {
    return !this.#core.isStranger(session);
  }

  poll(): ServerOutput | undefined {
    return this.#core.out.take();
  }

  // ── starting ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Takes back what an earlier run promised. Call once, before any input. Registrations that may not go on end, with an
   * event that says why.
   */
  restore(guide: FleetGuide, now: Instant): void {
    for (const registration of restoreFleet(this.#core, this.#observing, guide, now)) {
      const why = guide.refusal(registration);
      if (why !== undefined) this.#registering.remove(registration.endpoint, why, now);
    }
    const waiting: Registration[] = [];
    for (const registration of this.#core.registry.all())
      if (registration.queue.length > 0 || registration.unasked) waiting.push(registration);
    this.#firstRound.begin(waiting, now);
  }

  // ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

  handle(input: ServerInput, now: Instant): void {
    this.#handle(input, now);
    if (this.#core.wanting.size > 0) this.#askWanted(now);
  }

  #handle(input: ServerInput, now: Instant): void {
    switch (input.type) {
      case "request":
        return this.#registering.request(input.exchange, input.session, input.request, now);
      case "fragment":
        return this.#registering.fragment(input.exchange, input.session, input.request, now);
      case "response":
        return this.#orders.answered(input, now);
      case "failed":
        this.#registering.incumbentSilent(input.id, now);
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
          if (input.guest !== true) this.#registering.opened(input.session, input.identity, now);
        }
        return;
      case "closed":
        if (this.#core.identities.delete(input.session)) this.#core.identityChanges += 1;
        this.#observing.closed(input.session);
        return this.#registering.closed(input.session);
      case "established":
        return this.#observing.established(input.session, now);
      case "moved":
        return this.#registering.moved(input.session);
      case "stored":
        return this.#stored(input, now);
      case "operate":
        return this.#orders.accept(input, now);
      case "cancelOperation":
        return this.#orders.cancel(input.id, now);
      case "remove":
        return this.#registering.remove(input.endpoint, input.why ?? "removed", now);
      case "forget":
        return this.#orders.forgetEndpoint(input.endpoint, input.reason, now);
      default:
        return unreachable(input);
    }
  }

  wake(now: Instant): void {
    this.#registering.wake(now);
    this.#observing.wake(now);
    this.#orders.wake(now);
    for (const registration of this.#firstRound.due(now)) this.#core.wanting.add(registration);
    this.#core.recordDue(now);
    const { operations } = this.#core;
    for (let o = operations.due(now); o !== undefined; o = operations.due(now)) {
      if (isFinal(o.state)) this.#orders.forget(o);
      else this.#orders.end(o, { name: "expired", at: now }, now);
    }
    if (this.#core.wanting.size > 0) this.#askWanted(now);
  }

  #askWanted(now: Instant): void {
    const { wanting, registry } = this.#core;
    for (const registration of wanting) {
      wanting.delete(registration);
      if (registry.byId(registration.id) === registration) this.#orders.flush(registration, now);
    }
  }

  #stored({ ticket, ok, why }: StoredInput, now: Instant): void {
    const refusal = ok ? undefined : (why ?? "the store refused it");
    const pending = this.#core.pending.take(ticket);
    if (pending === undefined) throw new UsageError(`ticket ${ticket} is not open`);
    this.#core.unwritten.stored(ticket, ok, now);
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
