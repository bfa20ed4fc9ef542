import { OptionNumber, findUint } from "@godwit/coap";
import {
  executeRequest,
  isFinal,
  nodesOf,
  observeRequest,
  parseNodePath,
  readRequest,
  writeRequest,
  builtInRegistry,
  type OperationKind,
  type OperationState,
  type ServerStackInput,
} from "@godwit/lwm2m";
import type { Model, ModelDevice } from "./model.ts";
import type { StoryServer } from "./server.ts";
import type { Strategy } from "./strategies.ts";

/** What a user wants of a device, and what the user was told of it. */
export type StoryOperation = {
  readonly id: number;
  readonly strategy: Strategy;
  readonly kind: OperationKind;
  readonly path: string;
  /** Tells Executes apart. */
  readonly word: string;
  /** On the server's clock. */
  readonly expiresAt: number;
  accepted: boolean;
  /** The final states its user was told. */
  readonly ends: string[];
  /** Nothing is asked of it any more: its record was put back or damaged. */
  excused: boolean;
  /** It ended while the disk was full: a server that ends before it could write that down asks again. */
  unwritten: boolean;
  /** The device lost its memory while it ran: it may be obeyed again. */
  mayRepeat: boolean;
  /** The text of a 2.05. */
  answer: string | undefined;
};

type Request = Extract<ServerStackInput, { type: "operate" }>["request"];

/** All operations of a story. */
export class StoryOperations {
  readonly all: StoryOperation[] = [];
  readonly #byId = new Map<number, StoryOperation>();
  readonly #server: StoryServer;
  readonly #model: Model;

  constructor(server: StoryServer, model: Model) {
    this.#server = server;
    this.#model = model;
  }

  byId(id: number): StoryOperation | undefined {
    return this.#byId.get(id);
  }

  get open(): readonly StoryOperation[] {
    return this.all.filter(
      ({ accepted, ends, excused }) => accepted && !excused && ends.length === 0,
    );
  }

  read(device: ModelDevice, expires: number): StoryOperation {
    const path = "/3/0/9";
    return this.#order(device, "read", path, readRequest(parseNodePath(path)), expires);
  }

  execute(device: ModelDevice, expires: number): StoryOperation {
    const path = "/3303/0/5605";
    const request = executeRequest(parseNodePath(path), `0='w${this.all.length}'`);
    return this.#order(device, "execute", path, request, expires);
  }

  write(device: ModelDevice, expires: number): StoryOperation {
    const path = "/3/0/14";
    const at = parseNodePath(path);
    const nodes = nodesOf(at, `+0${this.all.length % 10}:00`, DEFINITIONS);
    return this.#order(device, "write", path, writeRequest(at, nodes), expires);
  }

  observe(device: ModelDevice, path: string, expires: number): StoryOperation {
    return this.#order(device, "observe", path, observeRequest(parseNodePath(path)), expires);
  }

  cancelObserve(device: ModelDevice, path: string, expires: number): StoryOperation {
    const request = readRequest(parseNodePath(path));
    return this.#order(device, "cancelObserve", path, request, expires);
  }

  /** A user is told. */
  told(id: number, state: OperationState): void {
    const operation = this.#byId.get(id);
    if (operation === undefined) return; // the server's own: an Observe that it repeats
    operation.accepted ||= state.name !== "failed" || state.notAccepted === undefined;
    const { open } = this.#model.device(operation.strategy);
    // From then on nobody wants it, whenever the device hears of that.
    if (operation.kind === "cancelObserve" && operation.accepted)
      this.#model.device(operation.strategy).wants.delete(operation.path);
    if (!isFinal(state)) return void open.add(id);
    operation.ends.push(state.name);
    operation.unwritten = this.#model.diskFull;
    this.#ended(operation, state);
  }

  /** The disk had room for a while: all that ended is written down. */
  written(): void {
    for (const operation of this.all) operation.unwritten = false;
  }

  /** The server's process is gone, and with it what it could not write down. */
  serverEnded(): void {
    for (const operation of this.all) {
      if (!operation.unwritten) continue;
      operation.excused = true;
      if (operation.kind === "observe")
        this.#model.device(operation.strategy).wants.delete(operation.path);
    }
  }

  /** Nothing is asked any more of what was ordered so far: the records were put back. */
  excuse(): void {
    for (const operation of this.all) {
      operation.excused = true;
      operation.mayRepeat = true;
      this.#model.device(operation.strategy).open.delete(operation.id);
    }
  }

  /** After a restart: what ended without anybody being told is seen by who asks. */
  look(): void {
    for (const operation of this.open) {
      const state = this.#server.stack.server.operation(operation.id)?.state;
      if (state === undefined || !isFinal(state)) continue;
      operation.ends.push(state.name);
      this.#ended(operation, state);
    }
  }

  #ended(operation: StoryOperation, state: OperationState): void {
    const { id, kind, path, strategy } = operation;
    const { wants, open } = this.#model.device(strategy);
    open.delete(id);
    if (state.name !== "done") return;
    const { code, options, payload } = state.response;
    operation.answer = `${code >> 5}.${String(code & 31).padStart(2, "0")} ${new TextDecoder().decode(payload)}`;
    if (kind === "cancelObserve") wants.delete(path);
    if (kind !== "observe" || findUint(options, OptionNumber.Observe) === undefined) return;
    if (!this.#isCancelledSince(operation)) wants.add(path);
  }

  /** Whether a user ended an observation before the answer to its Observe came. */
  #isCancelledSince({ strategy, path, id }: StoryOperation): boolean {
    const later = this.all.slice(this.all.findIndex((one) => one.id === id) + 1);
    return later.some(
      (one) =>
        one.kind === "cancelObserve" &&
        one.strategy === strategy &&
        one.path === path &&
        one.accepted,
    );
  }

  #order(
    device: ModelDevice,
    kind: OperationKind,
    path: string,
    request: Request,
    expires: number,
  ): StoryOperation {
    const { strategy } = device;
    const now = Math.floor(this.#server.host.now);
    const id = this.#server.stack.server.operationId();
    const operation: StoryOperation = {
      id,
      strategy,
      kind,
      path,
      word: `w${this.all.length}`,
      expiresAt: now + expires,
      accepted: false,
      ends: [],
      excused: false,
      unwritten: false,
      mayRepeat: false,
      answer: undefined,
    };
    this.all.push(operation);
    this.#byId.set(id, operation);
    const expiresAt = operation.expiresAt;
    this.#server.feed({ type: "operate", id, endpoint: strategy, kind, path, request, expiresAt });
    return operation;
  }
}

const DEFINITIONS = builtInRegistry().of(new Map());
