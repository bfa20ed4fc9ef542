import { check, checkOptions, finite, whole, type Rule, type Rules } from "@godwit/base";
import type { Request } from "@godwit/coap";
import {
  givenPath,
  createRequest,
  deleteRequest,
  discoverRequest,
  executeRequest,
  nodesOf,
  observeRequest,
  readRequest,
  writeAttributesRequest,
  writeRequest,
  type NodePath,
  type Plain,
} from "@godwit/lwm2m";
import { DeviceError } from "./faults.ts";
import type { ObservationLoop } from "./observation-loop.ts";
import {
  ONE_OR_MORE_VALUES,
  ORDER_RULES,
  VALUES,
  WRITE_RULES,
  type ObserveOptions,
  type OrderOptions,
  type WriteOptions,
} from "./options.ts";
import type { ReadValue } from "./reading.ts";
import type { Server } from "./server.ts";
import type { Answer, PathValue, Task } from "./task.ts";

/**
 * One device, by its endpoint name. Every order is durable before its promise can resolve, waits for a device that
 * sleeps or cannot be reached, and rejects with DeviceError when the device refuses or the order's time is over. An AbortSignal
 * as `signal` cancels it; one that was sent may have been obeyed.
 */
export class RemoteDevice {
  readonly endpoint: string;
  readonly #server: Server;

  constructor(server: Server, endpoint: string) {
    this.#server = server;
    this.endpoint = endpoint;
  }

  /** The value of a single resource, or of everything below an instance or object. */
  async read(path: string, options: OrderOptions = {}): Promise<ReadValue> {
    const values = await this.readAll(path, options);
    const own = values.find((value) => value.path === path);
    if (own !== undefined) return own.value;
    throw new DeviceError("ANSWER_VALUES", `${path} holds ${values.length} values: use readAll`);
  }

  async readAll(path: string, options: OrderOptions = {}): Promise<readonly PathValue[]> {
    const at = givenPath(path);
    const answer = await this.#done("read", at, readRequest(at), options);
    if (answer.fault !== undefined) throw new DeviceError("ANSWER_FORMAT", answer.fault);
    return answer.values ?? [];
  }

  /** Replaces one resource, or an instance's resources by id: `write("/3303/0", { 5601: 1 })`. */
  async write(
    path: string,
    value: Plain | Readonly<Record<string, Plain>>,
    options: WriteOptions = {},
  ): Promise<void> {
    const at = givenPath(path);
    checkOptions(`write ${path}`, options, WRITE_RULES);
    check(`write ${path}`, "value", value, ONE_OR_MORE_VALUES);
    const { mode, ...order } = options;
    const nodes = nodesOf(at, value, this.#server.definitionsOf(this.endpoint));
    await this.#done("write", at, writeRequest(at, nodes, mode), order);
  }

  async execute(path: string, args = "", options: OrderOptions = {}): Promise<void> {
    const at = givenPath(path);
    await this.#done("execute", at, executeRequest(at, args), options);
  }

  /** The links below a path, as the device prints them (RFC 6690). */
  async discover(path: string, options: OrderOptions = {}): Promise<string> {
    const at = givenPath(path);
    const answer = await this.#done("discover", at, discoverRequest(at), options);
    return answer.text ?? "";
  }

  async create(
    object: number,
    instance: number | undefined,
    values: Readonly<Record<string, Plain>>,
    options: OrderOptions = {},
  ): Promise<void> {
    const what = `create of object ${object}`;
    check(what, "object", object, ID);
    if (instance !== undefined) check(what, "instance", instance, ID);
    check(what, "values", values, VALUES);
    const at = [object];
    const definitions = this.#server.definitionsOf(this.endpoint);
    const nodes = nodesOf([object, instance ?? UNASSIGNED], values, definitions);
    await this.#done("create", at, createRequest(object, nodes), options);
  }

  async delete(path: string, options: OrderOptions = {}): Promise<void> {
    const at = givenPath(path);
    await this.#done("delete", at, deleteRequest(at), options);
  }

  /** `attributes`: such as `{ pmin: 10 }`; `undefined` unsets one. */
  async writeAttributes(
    path: string,
    attributes: Readonly<Record<string, number | undefined>>,
    options: OrderOptions = {},
  ): Promise<void> {
    const at = givenPath(path);
    checkOptions(`writeAttributes ${path}`, attributes, ATTRIBUTE_RULES);
    const request = writeAttributesRequest(at, queryOf(attributes));
    await this.#done("writeAttributes", at, request, options);
  }

  /**
   * Readings as they come, until the loop is left, the device ends the observation, or the server closes. Survives sleep,
   * address changes, a new registration and a restart of the server; set up anew wherever needed. Several loops on one path, and
   * the REST API, share one observation: who leaves leaves the others theirs, the last one ends it. Rejects with DeviceError
   * where the device refuses, does not observe the path (`NOT_OBSERVED`) or notifies an error; with UsageError
   * (`OBSERVE_CONFLICT`) where a loop runs that named other attributes.
   */
  observe(path: string, options: ObserveOptions = {}): ObservationLoop {
    return this.#server.observe(this.endpoint, path, options);
  }

  /** Gives up what `owner` had asked for by `Server.order`, such as the REST API. Loops go on: leave them to end theirs. */
  async cancelObserve(path: string, options: OrderOptions = {}): Promise<void> {
    const at = givenPath(path);
    await this.#done("cancelObserve", at, observeRequest(at), options);
  }

  async #done(
    kind: Task["operation"],
    path: NodePath,
    request: Request,
    options: OrderOptions,
  ): Promise<Answer> {
    const at = `/${path.join("/")}`;
    checkOptions(`${kind} ${at}`, options, ORDER_RULES);
    const task = await this.#server.perform(this.endpoint, kind, at, request, options);
    if (task.answer?.success) return task.answer;
    throw DeviceError.of(task);
  }
}

function queryOf(attributes: Readonly<Record<string, number | undefined>>): string[] {
  return Object.entries(attributes).map(([name, value]) =>
    value === undefined ? name : `${name}=${value}`,
  );
}

const NUMBER: Rule = finite();
const ATTRIBUTE_RULES: Rules<Readonly<Record<string, number | undefined>>> = {
  ...{
    pmin: NUMBER,
    pmax: NUMBER,
    epmin: NUMBER,
    epmax: NUMBER,
    gt: NUMBER,
    lt: NUMBER,
    st: NUMBER,
  },
  ...{ edge: NUMBER, con: NUMBER, hqmax: NUMBER },
};
const ID: Rule = whole(0, 65_534);
const UNASSIGNED = 65_535;
