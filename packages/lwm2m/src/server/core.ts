// What the parts of the server share: its tables, its way to the store and to the endpoint.

import {
  Outbox,
  Tickets,
  UsageError,
  type Identity,
  type Instant,
  type Rng,
  type SessionId,
  type SlottedId,
  type StoreChange,
} from "@godwit/base";
import { Code, type ExchangeId, type Response } from "@godwit/coap";
import { answerOf, refused, type Refusal } from "../refusal.ts";
import type { ServerOutput } from "./events.ts";
import type { Enrolment } from "./enrolling.ts";
import { ObjectLists } from "./object-lists.ts";
import { Observations } from "./observations.ts";
import type { Operation } from "./operation.ts";
import { Operations } from "./operations.ts";
import { noteUplink, reachability } from "./reach.ts";
import { TABLES, encodeOperation, encodeTouch, operationKey } from "./records.ts";
import type { Registration, RegistrationView } from "./registration.ts";
import { Registry } from "./registry.ts";
import type { ServerTuning } from "./tuning.ts";
import { Unwritten } from "./unwritten.ts";

/** What the server must know about the world around it; all answers are immediate and without side effects. */
export type ServerSurroundings = {
  readonly rng: Rng;
  /** Message id and token the endpoint will use nowhere else, for a request to this session; `lasting`: see Endpoint. */
  readonly allocate: (
    session: SessionId,
    now: Instant,
    lasting: boolean,
  ) => { readonly mid: number; readonly token: Uint8Array };
  /** Whether two raw sessions come from the same host. Proves nothing, but an incumbent rebooted more often than not. */
  readonly sameHost: (a: SessionId, b: SessionId) => boolean;
  /** The endpoint name an identity stands for; `undefined`: this identity is unknown. */
  readonly endpointOf?: (identity: Identity) => string | undefined;
  /** A number that no operation had before, restarts or not; counts from 1 unless given. */
  readonly takeNumber?: () => SlottedId | undefined;
  /** Another number each time that answers of `endpointOf` may have changed. */
  readonly credentialRevision?: () => number;
  /** Whether this endpoint has credentials: then it is never spoken to without them. */
  readonly isSecured?: (endpoint: string) => boolean;
};

/** What waits for its changes to become durable, in order. */
export type Pending =
  | PendingEnrolment
  | PendingRegistration
  | PendingOrder
  /** Follows from what has happened: where the store refuses it, it is written later. */
  | { readonly kind: "record"; readonly changes: readonly StoreChange[] };

export type PendingEnrolment = { readonly kind: "register"; readonly enrolment: Enrolment };

export type PendingRegistration =
  | {
      readonly kind: "update";
      readonly exchange: ExchangeId;
      readonly registration: Registration;
      readonly moved: boolean;
      readonly changed: readonly string[];
      /** What the device was promised before; only where that changes. */
      readonly before: AgreedParameters | undefined;
    }
  | {
      readonly kind: "deregister";
      readonly exchange: ExchangeId;
      readonly registration: Registration;
    };

/** What an Update may change. */
export type AgreedParameters = Pick<
  Registration,
  "lifetime" | "binding" | "queueMode" | "sms" | "objects"
>;

export type PendingOrder =
  | { readonly kind: "accept" | "dispatch" | "rename"; readonly operation: Operation }
  | {
      readonly kind: "finish";
      readonly operation: Operation;
      readonly changes: readonly StoreChange[];
    };

export class ServerCore {
  readonly tuning: ServerTuning;
  readonly around: ServerSurroundings;
  readonly out: Outbox<ServerOutput> = new Outbox();
  readonly registry: Registry = new Registry();
  readonly operations: Operations;
  readonly observations: Observations;
  readonly objectLists: ObjectLists;
  /** Registrations whose queues may have grown without a word of their device. */
  readonly wanting: Set<Registration> = new Set();
  readonly identities: Map<SessionId, Identity> = new Map();
  /** Counts changes of them. */
  identityChanges = 0;
  readonly pending: Tickets<Pending> = new Tickets();
  /** Where nobody else counts. */
  lastId: SlottedId = 0;
  /** Numbers of sessions that were lost with the store: their devices are registered, and found again when they speak. */
  readonly lost: Set<SessionId> = new Set();
  readonly unwritten: Unwritten = new Unwritten();
  /** Registrations whose end is being written, or was: nothing more is written of them. */
  readonly leaving: WeakSet<Registration> = new WeakSet();

  constructor(around: ServerSurroundings, tuning: ServerTuning) {
    this.around = around;
    this.tuning = tuning;
    this.operations = new Operations(tuning);
    this.objectLists = new ObjectLists(tuning.maxSharedLists);
    this.observations = new Observations();
  }

  /** A number that no operation had before, restarts or not. */
  operationId(): SlottedId {
    const id = this.around.takeNumber === undefined ? ++this.lastId : this.around.takeNumber();
    if (id === undefined) throw new UsageError("no number is left for an operation");
    return id;
  }

  store(changes: readonly StoreChange[], pending: Pending): void {
    const ticket = this.pending.give(pending);
    this.unwritten.supersede(changes, ticket);
    this.out.push({ type: "store", ticket, changes });
  }

  /** Stores what follows from what has happened. */
  record(changes: readonly StoreChange[]): void {
    this.store(changes, { kind: "record", changes });
  }

  /** The store refused them: later. */
  recordLater(changes: readonly StoreChange[], now: Instant): void {
    this.unwritten.add(changes, now);
  }

  recordDue(now: Instant): void {
    const changes = this.unwritten.due(now);
    if (changes.length > 0) this.record(changes);
  }

  emit(output: ServerOutput): void {
    this.out.push(output);
  }

  respond(exchange: ExchangeId, response: Response): void {
    this.out.push({ type: "coap", input: { type: "respond", exchange, response } });
  }

  /** `endpoint`: the name that the peer claims, or that of the registration it asks about. */
  refuse(exchange: ExchangeId, session: SessionId, refusal: Refusal, endpoint?: string): void {
    const { code, diagnostic, reason = "badRequest" } = refusal;
    const identity = this.identity(session);
    this.out.push({
      type: "refused",
      session,
      code,
      detail: diagnostic,
      reason,
      endpoint: endpoint ?? this.around.endpointOf?.(identity),
      identity,
    });
    this.respond(exchange, answerOf(refusal));
  }

  /** The store did not take it: nothing is promised, and the device may try again. `why` is for its diagnostic. */
  refuseForNow(exchange: ExchangeId, session: SessionId, why: string, endpoint: string): void {
    const refusal = refused(Code.ServiceUnavailable, why, "storage");
    this.refuse(exchange, session, refusal, endpoint);
  }

  /** Another number each time that the identity of a session, or what it stands for, may have changed; NaN: nobody knows. */
  get identityRevision(): number {
    return this.identityChanges + (this.around.credentialRevision?.() ?? Number.NaN);
  }

  /** Somebody who has proven nothing, where that is not enough. */
  isStranger(session: SessionId): boolean {
    return !this.tuning.nosec && this.identity(session).kind === "none";
  }

  identity(session: SessionId): Identity {
    return this.identities.get(session) ?? NOBODY;
  }

  view(r: Registration, now: Instant): RegistrationView {
    return {
      id: r.id,
      endpoint: r.endpoint,
      session: r.session,
      identity: r.identity,
      lifetime: r.lifetime,
      version: r.version,
      binding: r.binding,
      queueMode: r.queueMode,
      objects: r.objects,
      registeredAt: r.registeredAt,
      updatedAt: r.updatedAt,
      seenAt: r.reach.seenAt,
      expiresAt: r.expiresAt,
      reachability: reachability(r, this.tuning, now),
      waitingOperations: r.queue.filter(({ internal }) => internal !== true).length,
    };
  }

  touch(registration: Registration, now: Instant): void {
    registration.updatedAt = now;
    noteUplink(registration.reach, now);
    registration.reach.busyUntil = 0;
    const at = this.expiryOf(registration, now);
    this.registry.expireAt(registration, at, this.tuning.lifetimeGrace);
  }

  /** When its lifetime ends that begins at `from`; undefined: never. */
  expiryOf({ lifetime }: Registration, from: Instant): Instant | undefined {
    return lifetime === 0 ? undefined : from + lifetime * 1_000;
  }

  touchChange(registration: Registration): StoreChange {
    return { table: TABLES.touch, key: registration.id, value: encodeTouch(registration) };
  }

  forgetting(registration: Registration): readonly StoreChange[] {
    return [
      { table: TABLES.registration, key: registration.id, value: undefined },
      { table: TABLES.touch, key: registration.id, value: undefined },
    ];
  }

  operationChange(operation: Operation): StoreChange {
    return {
      table: TABLES.operation,
      key: operationKey(operation.id),
      value: encodeOperation(operation),
    };
  }
}

const NOBODY: Identity = { kind: "none" };
