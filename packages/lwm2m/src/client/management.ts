import {
  Deadlines,
  UsageError,
  earlier,
  unreachable,
  type Instant,
  type SessionId,
} from "@godwit/base";
import {
  Code,
  ContentFormat,
  diagnostic,
  response,
  type EndpointInput,
  type ExchangeId,
  type RequestName,
  type Response,
} from "@godwit/coap";
import type { AttributeChange, Attributes } from "../attributes.ts";
import { impliedVersion, type Definitions, type Registry } from "../definition.ts";
import { formatNodePath, samePath, type NodePath } from "../node-path.ts";
import type { ObjectEntry } from "../object-list.ts";
import { refused, type Refusal } from "../refusal.ts";
import type { ValueNode } from "../value.ts";
import type { Lwm2mVersion } from "../version.ts";
import { AttachedAttributes } from "./attached-attributes.ts";
import { contentOf, isAbsent } from "./content.ts";
import { Deeds, answerOf, type Deed } from "./deeds.ts";
import { discoverLinks } from "./discovery.ts";
import type { ClientEvent, ClientOutput, Operation, Outcome, PerformId } from "./events.ts";
import type { Observation } from "./observations.ts";
import { readOperation, type Announced, type Asked } from "./operation.ts";
import { Reporting, type AskedExchange } from "./reporting.ts";
import type { ServerObject } from "./server-object.ts";
import type { ClientTuning } from "./tuning.ts";
import type { Way } from "./way.ts";

//   request ──> refusal ─────────────────────────────────> respond
//           ──> /1: done here ───────────────────────────> respond
//           ──> perform ──performed, or performTimeout──> respond, and Observations watch what was observed
//   Observations.due ──> perform read ──performed──> notify, if the server wants to hear of it

/** What management needs of the client around it. */
export interface ManagementHost {
  coap(input: EndpointInput, now: Instant): void;
  emit(event: ClientEvent | Extract<ClientOutput, { type: "perform" }>): void;
  /** The server executed /1/x/8 or /1/x/4. */
  triggered(what: "update" | "disable", now: Instant): void;
  /** There is something to report, and the server may not know us where we are. */
  reopen(now: Instant): void;
  /** The server must observe anew: a registration is due. */
  renew(now: Instant): void;
  /** Something of the registration may have changed: /1, or the instances. */
  parametersChanged(now: Instant): void;
}

export type ManagementOptions = {
  readonly root: readonly string[];
  readonly registry: Registry;
  readonly tuning: ClientTuning;
  readonly server: ServerObject;
  readonly objects: readonly ObjectEntry[];
  readonly attributes: readonly (readonly [path: string, attributes: Attributes])[];
  readonly deeds: readonly Deed[];
  readonly way: Way;
};

/** Answers the server's operations and notifies it of what it observes. */
export class Management implements Announced {
  readonly #host: ManagementHost;
  readonly #options: ManagementOptions;
  readonly #server: ServerObject;
  readonly #attached: AttachedAttributes;
  readonly #reporting: Reporting;
  readonly #deeds: Deeds;
  readonly #pending = new Map<PerformId, Pending>();
  readonly #timeouts = new Deadlines<PerformId>();
  #objects: readonly ObjectEntry[];
  #lwm2m: Lwm2mVersion = "1.0";
  #definitions: Definitions;
  #lastPerform: PerformId = 0;

  constructor(host: ManagementHost, options: ManagementOptions) {
    this.#host = host;
    this.#options = options;
    this.#server = options.server;
    const { tuning, server } = options;
    this.#attached = new AttachedAttributes(tuning.maxAttributePaths, options.attributes);
    this.#reporting = new Reporting({
      host: {
        coap: (input, now) => host.coap(input, now),
        emit: (event) => host.emit(event),
        look: (exchange, path, now) =>
          this.#perform({ type: "look", operation: { type: "read", path }, exchange }, now),
        readable: (nodes) => this.#readable(nodes),
        reopen: (now) => host.reopen(now),
        renew: (now) => host.renew(now),
      },
      attached: this.#attached,
      server,
      way: options.way,
      tuning,
    });
    this.#deeds = new Deeds(options.tuning.maxDeeds, options.deeds);
    this.#objects = withServer(options.objects, options.server.instance);
    this.#definitions = this.#define();
  }

  /** Every instance that exists, with that of /1. Versions are the application's. */
  get objects(): readonly ObjectEntry[] {
    return this.#objects;
  }

  set objects(objects: readonly ObjectEntry[]) {
    this.#objects = withServer(objects, this.#server.instance);
    this.#definitions = this.#define();
  }

  /** The version of the registration: it decides what missing object versions mean. */
  set lwm2m(version: Lwm2mVersion) {
    this.#lwm2m = version;
    this.#definitions = this.#define();
  }

  /** Whether something is still to be answered. */
  get busy(): boolean {
    return this.#pending.size > 0;
  }

  /** What the server observes, and the notifications of it. */
  get reporting(): Reporting {
    return this.#reporting;
  }

  get attributes(): readonly (readonly [string, Attributes])[] {
    return this.#attached.all;
  }

  get deeds(): readonly Deed[] {
    return this.#deeds.all;
  }

  /** `reachable`: there is a server to report to. */
  wakeAt(reachable: boolean): Instant | undefined {
    return earlier(this.#timeouts.next, reachable ? this.#reporting.wakeAt : undefined);
  }

  hasObject(object: number): boolean {
    return this.#objects.some(({ id }) => id === object);
  }

  hasInstance(object: number, instance: number): boolean {
    return this.#objects.some(({ id, instances }) => id === object && instances.includes(instance));
  }

  /** `name`: by which a repetition is known. */
  request(asking: AskedExchange, now: Instant, name: RequestName | undefined): void {
    const { exchange, request } = asking;
    const asked = readOperation(request, {
      root: this.#options.root,
      lwm2m: this.#lwm2m,
      definitions: this.#definitions,
      announced: this,
    });
    if (asked.type === "refused") this.#refuse(exchange, asked, now);
    else this.#take(asking, asked, now, name);
  }

  /** The server may repeat in this session what it asked for in others, or of an earlier life. */
  remind(session: SessionId, now: Instant): void {
    for (const deed of this.#deeds.all) {
      const { name, since } = deed;
      this.#host.coap({ type: "remember", session, name, answer: answerOf(deed), since }, now);
    }
  }

  performed(id: PerformId, outcome: Outcome, now: Instant): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    this.#timeouts.stop(id);
    this.#finish(pending, outcome, now);
  }

  changed(path: NodePath, now: Instant): void {
    this.#reporting.changed(path, now);
  }

  wake(now: Instant, reachable: boolean): void {
    for (;;) {
      const id = this.#timeouts.expired(now);
      if (id === undefined) break;
      this.performed(id, refused(Code.GatewayTimeout, "the device took too long"), now);
    }
    if (reachable) this.#reporting.wake(now);
  }

  #take(asking: AskedExchange, asked: Asked, now: Instant, name: RequestName | undefined): void {
    const { exchange } = asking;
    switch (asked.type) {
      case "read":
        return this.#read(asking, asked, now);
      case "discover": {
        const { path, depth } = asked;
        return this.#perform(
          { type: "discover", exchange, operation: { type: "discover", path }, depth },
          now,
        );
      }
      case "writeAttributes":
        return this.#writeAttributes(exchange, asked.path, asked.change, now);
      case "perform":
        return this.#perform({ type: "answer", exchange, operation: asked.operation }, now, name);
      default:
        return unreachable(asked);
    }
  }

  #read(asking: AskedExchange, asked: Extract<Asked, { type: "read" }>, now: Instant): void {
    const { exchange } = asking;
    const { path, accept, observe } = asked;
    const observation =
      observe === undefined ? undefined : this.#reporting.asked(asking, path, accept, observe);
    if (observation !== undefined && "type" in observation)
      return this.#refuse(exchange, observation, now);
    this.#perform(
      { type: "read", exchange, operation: { type: "read", path }, accept, observation },
      now,
    );
  }

  #writeAttributes(
    exchange: ExchangeId,
    path: NodePath,
    change: AttributeChange,
    now: Instant,
  ): void {
    const fault = this.#attached.change(path, change);
    if (fault !== undefined) return this.#refuse(exchange, fault, now);
    this.#reporting.reschedule(now);
    this.#respond(exchange, response(Code.Changed), now);
    this.#host.emit({ type: "stateChanged" });
  }

  #perform(pending: Pending, now: Instant, name?: RequestName): void {
    const { operation } = pending;
    const object = operation.type === "create" ? operation.object : operation.path[0];
    if (object === 1) return this.#finish(pending, this.#obey(operation, now), now);
    const { maxPerforms, performTimeout } = this.#options.tuning;
    if (this.#pending.size >= maxPerforms) {
      return this.#finish(pending, refused(Code.ServiceUnavailable, "busy"), now);
    }
    const id = ++this.#lastPerform;
    this.#pending.set(id, pending);
    this.#timeouts.set(id, now + performTimeout);
    const once = name !== undefined && pending.type === "answer" && isOnce(operation);
    if (once) {
      this.#deeds.begin(pending.exchange, name, now);
      this.#host.emit({ type: "stateChanged" });
    }
    this.#host.emit({ type: "perform", id, operation, once });
  }

  #finish(pending: Pending, outcome: Outcome, now: Instant): void {
    if (pending.type === "look") return this.#reporting.looked(pending.exchange, outcome, now);
    if (outcome.type === "refused") return this.#refuse(pending.exchange, outcome, now);
    switch (pending.type) {
      case "read":
        return this.#answerRead(pending, outcome, now);
      case "discover": {
        if (outcome.type !== "resources") throw misfit("discover", outcome);
        const { path } = pending.operation;
        const attached = (at: NodePath): Attributes | undefined =>
          samePath(at, path) ? this.#attached.withInherited(at) : this.#attached.at(at);
        const version = this.#announcedVersion(path[0] ?? 0);
        const executables = this.#withInstances(path);
        const existing = [...executables, ...outcome.paths];
        return this.#respond(
          pending.exchange,
          response(Code.Content, {
            contentFormat: ContentFormat.LinkFormat,
            payload: discoverLinks(path, pending.depth, existing, attached, version),
          }),
          now,
        );
      }
      case "answer":
        return this.#answerDone(pending, outcome, now);
      default:
        return unreachable(pending);
    }
  }

  #answerRead(pending: Extract<Pending, { type: "read" }>, outcome: Outcome, now: Instant): void {
    if (outcome.type !== "values") throw misfit("read", outcome);
    const { exchange, observation, accept } = pending;
    const { path } = pending.operation;
    const nodes = this.#readable(outcome.nodes);
    if (isAbsent(path, nodes)) {
      return this.#refuse(exchange, refused(Code.NotFound, `no ${formatNodePath(path)}`), now);
    }
    const content = contentOf(path, accept, nodes, observation !== undefined);
    if (content === undefined) {
      return this.#refuse(
        exchange,
        refused(Code.NotAcceptable, `not in Content-Format ${accept}`),
        now,
      );
    }
    this.#respond(exchange, content, now);
    if (observation !== undefined) this.#reporting.begin(observation, nodes, now);
  }

  #answerDone(pending: Extract<Pending, { type: "answer" }>, outcome: Outcome, now: Instant): void {
    const { exchange, operation } = pending;
    switch (operation.type) {
      case "write":
      case "execute":
        if (outcome.type !== "done") throw misfit(operation.type, outcome);
        this.#respond(exchange, response(Code.Changed), now);
        return operation.type === "write"
          ? this.#written(operation.path, now)
          : this.#executed(operation.path, now);
      case "delete":
        if (outcome.type !== "done") throw misfit("delete", outcome);
        this.#respond(exchange, response(Code.Deleted), now);
        return this.#deleted(operation.path, now);
      case "create": {
        if (outcome.type !== "created") throw misfit("create", outcome);
        const chosen = operation.instance === undefined;
        const location = [
          ...this.#options.root,
          String(operation.object),
          String(outcome.instance),
        ];
        this.#respond(
          exchange,
          response(Code.Created, chosen ? { locationPath: location } : {}),
          now,
        );
        return this.#created(operation.object, outcome.instance, now);
      }
      default:
        return unreachable(operation);
    }
  }

  /** Operations on /1 are the client's own. */
  #obey(operation: Operation, now: Instant): Outcome {
    const { type } = operation;
    if (type === "create" || type === "delete")
      return refused(Code.MethodNotAllowed, "/1 stays as it is");
    const [, , resource] = operation.path;
    if (resource !== undefined && type !== "write" && !this.#server.has(resource)) {
      return refused(Code.NotFound, `no resource ${formatNodePath(operation.path)}`);
    }
    switch (type) {
      case "read":
        return { type: "values", nodes: this.#server.nodes(resource) };
      case "discover":
        return {
          type: "resources",
          paths: this.#server.resources.map((id) => [1, this.#server.instance, id]),
        };
      case "execute":
        return { type: "done" };
      case "write":
        return this.#writeServer(operation, now);
      default:
        return unreachable(type);
    }
  }

  #writeServer(
    { mode, path, nodes }: Extract<Operation, { type: "write" }>,
    now: Instant,
  ): Outcome {
    for (const { path: at, value } of nodes) {
      if (at[2] === undefined || value === undefined || at.length !== 3) {
        return refused(Code.BadRequest, `${formatNodePath(at)} is no single resource`);
      }
      const fault = this.#server.fault(at[2], value);
      if (fault !== undefined) return refused(Code.BadRequest, fault);
    }
    if (mode === "replace" && path.length === 2) this.#server.clearWritable();
    for (const { path: at, value } of nodes) {
      if (at[2] !== undefined && value !== undefined) this.#server.write(at[2], value);
    }
    this.#reporting.reschedule(now);
    return { type: "done" };
  }

  #written(path: NodePath, now: Instant): void {
    this.#reporting.changed(path, now);
    if (path[0] !== 1) return;
    this.#host.emit({ type: "stateChanged" });
    this.#host.parametersChanged(now);
  }

  #executed(path: NodePath, now: Instant): void {
    if (path[0] === 1) this.#host.triggered(path[2] === 4 ? "disable" : "update", now);
  }

  #created(object: number, instance: number, now: Instant): void {
    this.#objects = this.#objects.map((entry) =>
      entry.id === object && !entry.instances.includes(instance)
        ? { ...entry, instances: [...entry.instances, instance].toSorted((a, b) => a - b) }
        : entry,
    );
    this.#reporting.changed([object, instance], now);
    this.#host.parametersChanged(now);
  }

  #deleted(path: NodePath, now: Instant): void {
    if (path.length === 2) {
      this.#objects = this.#objects.map((entry) =>
        entry.id === path[0]
          ? { ...entry, instances: entry.instances.filter((instance) => instance !== path[1]) }
          : entry,
      );
    }
    this.#attached.deleted(path);
    this.#reporting.deleted(path, now);
    if (path.length === 2) this.#host.parametersChanged(now);
  }

  #readable(nodes: readonly ValueNode[]): readonly ValueNode[] {
    return nodes.filter(({ path: [object = 0, , resource] }) => {
      const definition =
        resource === undefined ? undefined : this.#definitions.resource(object, resource);
      return definition === undefined || definition.operations.includes("R");
    });
  }

  /** The instances that an answer about an object shows even if they are empty. */
  #withInstances(path: NodePath): readonly NodePath[] {
    if (path.length > 1) return [];
    const entry = this.#objects.find(({ id }) => id === path[0]);
    return entry?.instances.map((instance) => [entry.id, instance]) ?? [];
  }

  #announcedVersion(object: number): string | undefined {
    const version = this.#versionOf(object);
    return version === impliedVersion(object, this.#lwm2m) ? undefined : version;
  }

  #versionOf(object: number): string {
    if (object === 1) return this.#lwm2m;
    const entry = this.#objects.find(({ id }) => id === object);
    return entry?.version ?? impliedVersion(object, this.#lwm2m);
  }

  #define(): Definitions {
    return this.#options.registry.of(
      new Map(this.#objects.map(({ id }) => [id, this.#versionOf(id)])),
    );
  }

  #refuse(exchange: ExchangeId, refusal: Refusal, now: Instant): void {
    const payload = diagnostic(refusal.diagnostic);
    this.#respond(exchange, response(refusal.code, { payload }), now);
  }

  #respond(exchange: ExchangeId, answer: Response, now: Instant): void {
    if (this.#deeds.answered(exchange, answer)) this.#host.emit({ type: "stateChanged" });
    this.#host.coap({ type: "respond", exchange, response: answer }, now);
  }
}

/** The object list with the instance of /1 in its place. */
function withServer(objects: readonly ObjectEntry[], instance: number): readonly ObjectEntry[] {
  for (const { id, instances } of objects) {
    const ids = [id, ...instances];
    if (ids.some((one) => !Number.isInteger(one) || one < 0 || one > 65_534)) {
      throw new UsageError(`object ${id} has an id out of range`);
    }
  }
  const others = objects.filter(({ id }) => id !== 0 && id !== 1 && id !== 21 && id !== 23);
  return [{ id: 1, version: undefined, instances: [instance] }, ...others];
}

/** Done twice it is not the same as done once. */
function isOnce(operation: Operation): boolean {
  const { type } = operation;
  return (
    type === "execute" || type === "create" || (type === "write" && operation.mode === "update")
  );
}

function misfit(operation: string, outcome: Outcome): UsageError {
  return new UsageError(`${operation} was answered by ${outcome.type}`);
}

type Pending =
  | {
      readonly type: "read";
      readonly exchange: ExchangeId;
      readonly operation: Extract<Operation, { type: "read" }>;
      readonly accept: number | undefined;
      readonly observation: Observation | undefined;
    }
  | {
      readonly type: "discover";
      readonly exchange: ExchangeId;
      readonly operation: Extract<Operation, { type: "discover" }>;
      readonly depth: number;
    }
  | {
      readonly type: "answer";
      readonly exchange: ExchangeId;
      readonly operation: Exclude<Operation, { type: "read" | "discover" }>;
    }
  /** The value of an observation is looked at. */
  | {
      readonly type: "look";
      readonly exchange: ExchangeId;
      readonly operation: Extract<Operation, { type: "read" }>;
    };
