import { UsageError, type Instant, type SessionId } from "@godwit/base";
import {
  Code,
  response,
  type EndpointInput,
  type EndpointOutput,
  type ExchangeId,
  type Request,
} from "@godwit/coap";
import { applyAttributes, type AttributeChange, type Attributes } from "../attributes.ts";
import { isWithin, type NodePath } from "../node-path.ts";
import type { Refusal } from "../refusal.ts";
import type { ValueNode } from "../value.ts";
import { inconsistency, type AttachedAttributes } from "./attached-attributes.ts";
import { contentOf, isAbsent } from "./content.ts";
import type { ClientEvent, Outcome } from "./events.ts";
import { Observations, type Observation } from "./observations.ts";
import type { ServerObject } from "./server-object.ts";
import type { ClientTuning } from "./tuning.ts";
import type { Way } from "./way.ts";

//   Observe ──answered──> begin ──> changed, pmax ──> look ──looked──> notify, if the server wants to hear of it
//                                                                ├─ the way is unsure ──> owed, and the way is made sure
//                                                                └─ never acknowledged ──> owed (/1/x/6), or all end
//   ended by: unobserved, forgetAll (a new registration, new keys), what is observed being gone
//
// Whatever ends without the server's doing is made good by a new registration: then the server observes anew.

/** What reporting needs of management around it. */
export interface ReportingHost {
  coap(input: EndpointInput, now: Instant): void;
  emit(event: ClientEvent): void;
  /** Has the value read; `looked` follows. */
  look(exchange: ExchangeId, path: NodePath, now: Instant): void;
  /** What the server may read of them. */
  readable(nodes: readonly ValueNode[]): readonly ValueNode[];
  /** There is something to report, and the server may not know us where we are. */
  reopen(now: Instant): void;
  /** The server must observe anew: a registration is due. */
  renew(now: Instant): void;
}

/** What the server observes, and the greatest value of Observe that may have been used (RFC 7641 4.4). */
export type KeptObservations = {
  readonly sequence: number;
  readonly items: readonly KeptObservation[];
};

export type KeptObservation = Omit<Observation, "exchange"> & {
  /** As last notified. */
  readonly sent: readonly ValueNode[];
};

export type ReportingParts = {
  readonly host: ReportingHost;
  readonly attached: AttachedAttributes;
  readonly server: ServerObject;
  readonly way: Way;
  readonly tuning: ClientTuning;
};

/** Notifies the server of what it observes (OMA TS Core 6.4). */
export class Reporting {
  readonly #host: ReportingHost;
  readonly #attached: AttachedAttributes;
  readonly #server: ServerObject;
  readonly #way: Way;
  readonly #tuning: ClientTuning;
  readonly #observations: Observations;
  /** At least the value of the last Observe option that was sent, and what the store says of it. */
  #sequence = 0;
  #reserved = 0;
  /** Of the last observation that was taken up after a restart. */
  #lastResumed: ExchangeId = 0;

  constructor({ host, attached, server, way, tuning }: ReportingParts) {
    this.#host = host;
    this.#attached = attached;
    this.#server = server;
    this.#way = way;
    this.#tuning = tuning;
    this.#observations = new Observations((observation) => this.#effective(observation));
  }

  get size(): number {
    return this.#observations.size;
  }

  /** Nothing is looked at that could not be reported. */
  get wakeAt(): Instant | undefined {
    return this.#way.isShut ? undefined : this.#observations.wakeAt;
  }

  /** The paths that are observed. */
  get paths(): readonly NodePath[] {
    return Array.from(this.#observations.all(), ({ path }) => path);
  }

  /** For a snapshot. */
  get kept(): KeptObservations {
    const items = Array.from(
      this.#observations.all(),
      ({ path, accept, own, token, request, sent }) => ({
        path,
        accept,
        own,
        token,
        request,
        sent,
      }),
    );
    return { sequence: this.#reserved, items };
  }

  /** Goes on with what was observed before a restart. */
  resume({ sequence, items }: KeptObservations, session: SessionId, now: Instant): void {
    this.#sequence = sequence;
    this.#reserved = sequence;
    for (const { sent, ...kept } of items) {
      const exchange = --this.#lastResumed;
      const { token, request } = kept;
      this.#observations.resume({ exchange, ...kept }, sent, now);
      this.#host.coap({ type: "resumeObserver", exchange, session, token, request, sequence }, now);
    }
  }

  /** The observation that an Observe asks for; undefined: there are too many (RFC 7641 4.1). */
  asked(
    { exchange, request, token }: AskedExchange,
    path: NodePath,
    accept: number | undefined,
    observe: AttributeChange,
  ): Observation | Refusal | undefined {
    const given = applyAttributes({}, observe);
    const own = Object.keys(given).length === 0 ? undefined : given;
    const observation = {
      exchange,
      path,
      accept,
      own,
      token: token.slice(),
      request: ownCopy(request),
    };
    const full = this.#observations.size >= this.#tuning.maxObservations;
    if (full && !this.#observations.hasTwin(observation)) return undefined;
    return inconsistency(this.#effective(observation)) ?? observation;
  }

  /** The Observe was answered with these values. */
  begin(observation: Observation, nodes: readonly ValueNode[], now: Instant): void {
    this.#observations.add(observation, nodes, now);
    this.#numbered();
    this.#tell(observation.path, true);
  }

  changed(path: NodePath, now: Instant): void {
    this.#observations.changed(path, now);
  }

  /** Attributes have changed. */
  reschedule(now: Instant): void {
    this.#observations.reschedule(now);
  }

  /** The peer or the transport ended it. What the server did not ask for it must learn of. */
  unobserved(exchange: ExchangeId, why: UnobservedReason, now: Instant): void {
    if (!this.#end(exchange)) return;
    const isOurs = why === "reset" || why === "closed" || (why === "full" && exchange < 0);
    if (isOurs) this.#host.renew(now);
  }

  /**
   * A notification was never acknowledged. With /1/x/6 the observation goes on, and the newest value is sent once the server
   * answers; else RFC 7641 4.5 ends what it observes. It never learned of an end whose last word was lost.
   */
  unnotified(exchange: ExchangeId, now: Instant): void {
    const stays = this.#server.storesNotifications && this.#observations.owe(exchange, now);
    if (stays) return this.#host.reopen(now);
    this.forgetAll(now);
    this.#host.renew(now);
  }

  /** A new registration or new keys void the observations so far (OMA TS Core 6.2.1, RFC 8613 B.2). */
  forgetAll(now: Instant): void {
    for (const exchange of this.#observations.exchanges) {
      this.#host.coap({ type: "unobserve", exchange }, now);
      this.#end(exchange);
    }
  }

  wake(now: Instant): void {
    while (!this.#way.isShut) {
      const observation = this.#observations.due(now);
      if (observation === undefined) return;
      this.#host.look(observation.exchange, observation.path, now);
    }
  }

  looked(exchange: ExchangeId, outcome: Outcome, now: Instant): void {
    const observation = this.#observations.at(exchange);
    if (observation === undefined) return;
    if (outcome.type === "refused") {
      return outcome.code === Code.NotFound
        ? this.#gone(exchange, now)
        : this.#observations.failed(exchange, now);
    }
    if (outcome.type !== "values") throw new UsageError(`read was answered by ${outcome.type}`);
    const nodes = this.#host.readable(outcome.nodes);
    if (isAbsent(observation.path, nodes)) return this.#gone(exchange, now);
    const content = contentOf(observation.path, observation.accept, nodes, true);
    if (content === undefined) return this.#observations.failed(exchange, now);
    const step = this.#observations.looked(exchange, nodes, this.#way.isOpen(now), now);
    if (step === "owed" && !this.#way.isShut) this.#host.reopen(now);
    if (step !== "notify") return;
    this.#numbered();
    const { con } = this.#effective(observation);
    const confirmable =
      con === undefined
        ? this.#server.confirmableNotifications || this.#way.wantsProof(now)
        : con === 1;
    this.#host.coap({ type: "notify", exchange, response: content, confirmable }, now);
  }

  /** What is at or below `path` is there no more. */
  deleted(path: NodePath, now: Instant): void {
    for (const exchange of this.#observations.exchanges) {
      const observed = this.#observations.at(exchange)?.path;
      if (observed !== undefined && isWithin(observed, path)) this.#gone(exchange, now);
    }
    this.#observations.changed(path, now);
  }

  /** What is observed is there no more (RFC 7641 3.2: an error response ends the observation). */
  #gone(exchange: ExchangeId, now: Instant): void {
    this.#numbered();
    this.#host.coap({ type: "notify", exchange, response: response(Code.NotFound) }, now);
    this.#end(exchange);
  }

  #end(exchange: ExchangeId): boolean {
    const ended = this.#observations.remove(exchange);
    if (ended === undefined) return false;
    // One that was asked for anew goes on in its successor.
    if (!this.#observations.has(ended.path)) this.#tell(ended.path, false);
    return true;
  }

  /** Another value of Observe is used; reserved are more than a crash can find unwritten. */
  #numbered(): void {
    this.#sequence += 1;
    const { observeStride } = this.#tuning;
    if (this.#sequence + observeStride / 2 <= this.#reserved) return;
    this.#reserved = this.#sequence + observeStride;
    this.#host.emit({ type: "stateChanged" });
  }

  #effective({ path, own }: Observation): Attributes {
    return this.#attached.effective(path, own, this.#server.periods);
  }

  #tell(path: NodePath, active: boolean): void {
    this.#host.emit({ type: "observation", path, active });
    this.#host.emit({ type: "stateChanged" });
  }
}

/** The request of an exchange, and the token by which its notifications are known. */
export type AskedExchange = {
  readonly exchange: ExchangeId;
  readonly request: Request;
  readonly token: Uint8Array;
};

type UnobservedReason = Extract<EndpointOutput, { type: "unobserved" }>["why"];

/** Outlives the datagram it is a view of. */
function ownCopy({ code, options, payload }: Request): Request {
  return {
    code,
    options: options.map(({ number, value }) => ({ number, value: value.slice() })),
    payload: payload.slice(),
  };
}
