import { UsageError, type Instant } from "@godwit/base";
import { Code, response, type EndpointInput, type ExchangeId } from "@godwit/coap";
import { applyAttributes, type AttributeChange, type Attributes } from "../attributes.ts";
import { isWithin, type NodePath } from "../node-path.ts";
import type { Refusal } from "../refusal.ts";
import type { ValueNode } from "../value.ts";
import { inconsistency, type AttachedAttributes } from "./attached-attributes.ts";
import { contentOf, isAbsent } from "./content.ts";
import type { ClientEvent, Outcome } from "./events.ts";
import { Observations, type Observation } from "./observations.ts";
import type { ServerObject } from "./server-object.ts";

//   Observe ──answered──> begin ──> changed, pmax ──> look ──looked──> notify, if the server wants to hear of it
//   ended by: unobserved, forgetAll (a new registration), what is observed being gone

/** What reporting needs of management around it. */
export interface ReportingHost {
  coap(input: EndpointInput, now: Instant): void;
  emit(event: ClientEvent): void;
  /** Has the value read; `looked` follows. */
  look(exchange: ExchangeId, path: NodePath, now: Instant): void;
  /** What the server may read of them. */
  readable(nodes: readonly ValueNode[]): readonly ValueNode[];
}

export type ReportingParts = {
  readonly host: ReportingHost;
  readonly attached: AttachedAttributes;
  readonly server: ServerObject;
  readonly maxObservations: number;
};

/** Notifies the server of what it observes (OMA TS Core 6.4). */
export class Reporting {
  readonly #host: ReportingHost;
  readonly #attached: AttachedAttributes;
  readonly #server: ServerObject;
  readonly #maxObservations: number;
  readonly #observations: Observations;

  constructor({ host, attached, server, maxObservations }: ReportingParts) {
    this.#host = host;
    this.#attached = attached;
    this.#server = server;
    this.#maxObservations = maxObservations;
    this.#observations = new Observations((observation) => this.#effective(observation));
  }

  get size(): number {
    return this.#observations.size;
  }

  get wakeAt(): Instant | undefined {
    return this.#observations.wakeAt;
  }

  /** The observation that an Observe asks for; undefined: there are too many (RFC 7641 4.1). */
  asked(
    exchange: ExchangeId,
    path: NodePath,
    accept: number | undefined,
    observe: AttributeChange,
  ): Observation | Refusal | undefined {
    if (this.#observations.size >= this.#maxObservations) return undefined;
    const given = applyAttributes({}, observe);
    const own = Object.keys(given).length === 0 ? undefined : given;
    const observation = { exchange, path, accept, own };
    return inconsistency(this.#effective(observation)) ?? observation;
  }

  /** The Observe was answered with these values. */
  begin(observation: Observation, nodes: readonly ValueNode[], now: Instant): void {
    this.#observations.add(observation, nodes, now);
    this.#tell(observation.path, true);
  }

  changed(path: NodePath, now: Instant): void {
    this.#observations.changed(path, now);
  }

  /** Attributes have changed. */
  reschedule(now: Instant): void {
    this.#observations.reschedule(now);
  }

  /** The peer or the transport ended it. */
  unobserved(exchange: ExchangeId): void {
    const ended = this.#observations.remove(exchange);
    if (ended !== undefined) this.#tell(ended.path, false);
  }

  /** A new registration voids the observations of the old one (OMA TS Core 6.2.1). */
  forgetAll(now: Instant): void {
    for (const exchange of this.#observations.exchanges) {
      this.#host.coap({ type: "unobserve", exchange }, now);
      this.unobserved(exchange);
    }
  }

  wake(now: Instant): void {
    for (;;) {
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
    if (!this.#observations.looked(exchange, nodes, now)) return;
    const { con } = this.#effective(observation);
    const confirmable = con === undefined ? this.#server.confirmableNotifications : con === 1;
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
    this.#host.coap({ type: "notify", exchange, response: response(Code.NotFound) }, now);
    this.unobserved(exchange);
  }

  #effective({ path, own }: Observation): Attributes {
    return this.#attached.effective(path, own, this.#server.periods);
  }

  #tell(path: NodePath, active: boolean): void {
    this.#host.emit({ type: "observation", path, active });
    this.#host.emit({ type: "stateChanged" });
  }
}
