import { parseNodePath, type NodePath, type Plain } from "@godwit/lwm2m";
import {
  createRequest,
  deleteRequest,
  discoverRequest,
  executeRequest,
  nodesOf,
  observeRequest,
  readRequest,
  writeAttributesRequest,
  writeRequest,
} from "@godwit/lwm2m";
import type { OrderOptions, Server } from "./server.ts";
import { DeviceError } from "./faults.ts";
import { Feed } from "./feed.ts";
import type { Answer, PathValue, Task } from "./task.ts";

export type ReadValue = PathValue["value"];

/** What a notification brought. */
export type Reading = {
  readonly path: string;
  /** Of a single resource; else `null` and see `values`. */
  readonly value: ReadValue;
  readonly values: readonly PathValue[];
  readonly at: number;
};

/** Attributes of an observation (OMA TS Core 5.1.2); seconds for pmin and pmax. */
export type ObserveOptions = OrderOptions & {
  readonly pmin?: number;
  readonly pmax?: number;
  readonly gt?: number;
  readonly lt?: number;
  readonly st?: number;
};

/**
 * One device, by its endpoint name. Every order is durable before its promise can resolve, waits for a device that
 * sleeps or cannot be reached, and rejects with DeviceError when the device refuses or the order's time is over.
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
    throw new DeviceError("values", `${path} holds ${values.length} values: use readAll`);
  }

  async readAll(path: string, options: OrderOptions = {}): Promise<readonly PathValue[]> {
    const at = parseNodePath(path);
    const answer = await this.#done(this.#order("read", at, readRequest(at), options));
    if (answer.fault !== undefined) throw new DeviceError("format", answer.fault);
    return answer.values ?? [];
  }

  /** Replaces one resource, or an instance's resources by id: `write("/3303/0", { 5601: 1 })`. */
  async write(
    path: string,
    value: Plain | Readonly<Record<string, Plain>>,
    options: OrderOptions & { readonly mode?: "replace" | "update" } = {},
  ): Promise<void> {
    const at = parseNodePath(path);
    const nodes = nodesOf(at, value, this.#server.definitionsOf(this.endpoint));
    await this.#done(this.#order("write", at, writeRequest(at, nodes, options.mode), options));
  }

  async execute(path: string, args = "", options: OrderOptions = {}): Promise<void> {
    const at = parseNodePath(path);
    await this.#done(this.#order("execute", at, executeRequest(at, args), options));
  }

  /** The links below a path, as the device prints them (RFC 6690). */
  async discover(path: string, options: OrderOptions = {}): Promise<string> {
    const at = parseNodePath(path);
    const answer = await this.#done(this.#order("discover", at, discoverRequest(at), options));
    return answer.text ?? "";
  }

  async create(
    object: number,
    instance: number | undefined,
    values: Readonly<Record<string, Plain>>,
    options: OrderOptions = {},
  ): Promise<void> {
    const at = [object];
    const definitions = this.#server.definitionsOf(this.endpoint);
    const nodes = nodesOf([object, instance ?? UNASSIGNED], values, definitions);
    await this.#done(this.#order("create", at, createRequest(object, nodes), options));
  }

  async delete(path: string, options: OrderOptions = {}): Promise<void> {
    const at = parseNodePath(path);
    await this.#done(this.#order("delete", at, deleteRequest(at), options));
  }

  /** `attributes`: such as `{ pmin: 10 }`; `undefined` unsets one. */
  async writeAttributes(
    path: string,
    attributes: Readonly<Record<string, number | undefined>>,
    options: OrderOptions = {},
  ): Promise<void> {
    const at = parseNodePath(path);
    const request = writeAttributesRequest(at, queryOf(attributes));
    await this.#done(this.#order("writeAttributes", at, request, options));
  }

  /**
   * Readings as they come, until the loop is left. Survives sleep, address changes, a new registration and a restart of the
   * server; set up anew wherever needed. Throws DeviceError where the device does not observe the path, or ends the
   * observation with an error (`code`, such as "4.04" for an instance that is gone), or reports what cannot be read.
   */
  async *observe(path: string, options: ObserveOptions = {}): AsyncGenerator<Reading, void, void> {
    const { pmin, pmax, gt, lt, st, ...order } = options;
    const at = parseNodePath(path);
    const attributes = { pmin, pmax, gt, lt, st };
    const set = queryOf(attributes).filter((one) => one.includes("="));
    if (set.length > 0) await this.writeAttributes(path, attributes, order);
    const feed = new Feed<Reading>();
    const stop = [
      this.#server.on("notification", (event) => {
        if (event.endpoint !== this.endpoint || event.path !== path) return;
        const fault = this.#faultOf(path, event.answer);
        if (fault === undefined) feed.push(reading(path, event.answer, event.at));
        else feed.fail(fault);
      }),
      this.#server.on("observation", (event) => {
        if (event.endpoint !== this.endpoint || event.path !== path) return;
        if (event.state === "ended") feed.end();
        else if (event.state === "refused")
          feed.fail(
            new DeviceError("refused", `observe ${path} of ${this.endpoint}: ${event.reason}`),
          );
      }),
    ];
    try {
      const first = await this.#done(this.#order("observe", at, observeRequest(at), order));
      const fault = this.#faultOf(path, first);
      if (fault !== undefined) throw fault;
      yield reading(path, first, Date.now());
      yield* feed;
    } finally {
      for (const one of stop) one();
      await this.cancelObserve(path, order).catch(() => undefined); // the device may be gone: then there is nothing to cancel
    }
  }

  async cancelObserve(path: string, options: OrderOptions = {}): Promise<void> {
    const at = parseNodePath(path);
    await this.#done(this.#order("cancelObserve", at, observeRequest(at), options));
  }

  /** Why a notification is no reading, if so. */
  #faultOf(path: string, { success, code, codeName, fault }: Answer): DeviceError | undefined {
    const what = `observe ${path} of ${this.endpoint}`;
    if (!success) return new DeviceError("refused", `${what}: ${code} ${codeName ?? ""}`, code);
    return fault === undefined ? undefined : new DeviceError("format", `${what}: ${fault}`);
  }

  #order(
    kind: Task["operation"],
    path: NodePath,
    request: Parameters<Server["order"]>[3],
    options: OrderOptions,
  ): Promise<Task> {
    return this.#server.order(this.endpoint, kind, `/${path.join("/")}`, request, options);
  }

  async #done(ordered: Promise<Task>): Promise<Answer> {
    const task = await this.#server.ended((await ordered).id);
    if (task.answer?.success) return task.answer;
    throw DeviceError.of(task);
  }
}

function queryOf(attributes: Readonly<Record<string, number | undefined>>): string[] {
  return Object.entries(attributes).map(([name, value]) =>
    value === undefined ? name : `${name}=${value}`,
  );
}

function reading(path: string, answer: Answer, at: number): Reading {
  const values = answer.values ?? [];
  const own = values.find((value) => value.path === path);
  return { path, value: own?.value ?? null, values, at };
}

const UNASSIGNED = 65_535;
