import { Deadlines, type Instant } from "@godwit/base";
import { type Operation, isFinal } from "./operation.ts";
import type { ServerTuning } from "./tuning.ts";

/** Every operation the server has promised, waiting or finished, within named limits. */
export class Operations {
  readonly #byId = new Map<number, Operation>();
  readonly #byEndpoint = new Map<string, Operation[]>();
  /** When a waiting one is given up, or a finished one forgotten. */
  readonly #deadlines = new Deadlines<number>();
  readonly #tuning: ServerTuning;
  #waiting = 0;

  constructor(tuning: ServerTuning) {
    this.#tuning = tuning;
  }

  get nextDeadline(): Instant | undefined {
    return this.#deadlines.next;
  }

  get waiting(): number {
    return this.#waiting;
  }

  get(id: number): Operation | undefined {
    return this.#byId.get(id);
  }

  /** Of one endpoint, oldest first. */
  of(endpoint: string): readonly Operation[] {
    return this.#byEndpoint.get(endpoint) ?? [];
  }

  all(): IterableIterator<Operation> {
    return this.#byId.values();
  }

  /** Why one more cannot be taken, if so. */
  fullFor(endpoint: string): string | undefined {
    if (this.#waiting >= this.#tuning.maxOperations) {
      return `the server already holds ${this.#waiting} waiting operations`;
    }
    const waiting = this.of(endpoint).filter((operation) => !isFinal(operation.state)).length;
    if (waiting < this.#tuning.maxOperationsPerEndpoint) return undefined;
    return `${waiting} operations already wait for this device`;
  }

  /** `notBefore`: it does not expire earlier, whatever its own time says. */
  add(operation: Operation, notBefore: Instant = -Infinity): void {
    this.#byId.set(operation.id, operation);
    const list = this.#byEndpoint.get(operation.endpoint);
    if (list === undefined) this.#byEndpoint.set(operation.endpoint, [operation]);
    else list.push(operation);
    if (isFinal(operation.state)) this.#keepFinished(operation);
    else {
      this.#waiting += 1;
      this.#deadlines.set(operation.id, Math.max(operation.expiresAt, notBefore));
    }
  }

  /** The operation has just got its final state; returns those that are forgotten to make room. */
  finished(operation: Operation): readonly Operation[] {
    this.#waiting -= 1;
    this.#keepFinished(operation);
    const list = this.#byEndpoint.get(operation.endpoint) ?? [];
    const finished = list.filter((one) => isFinal(one.state));
    const surplus = finished.slice(
      0,
      Math.max(0, finished.length - this.#tuning.finishedPerEndpoint),
    );
    for (const old of surplus) this.remove(old);
    return surplus;
  }

  remove(operation: Operation): void {
    if (!this.#byId.delete(operation.id)) return;
    if (!isFinal(operation.state)) this.#waiting -= 1;
    this.#deadlines.stop(operation.id);
    const left = this.of(operation.endpoint).filter((one) => one !== operation);
    if (left.length === 0) this.#byEndpoint.delete(operation.endpoint);
    else this.#byEndpoint.set(operation.endpoint, left);
  }

  /** One whose deadline has come: a waiting one expires, a finished one is forgotten. */
  due(now: Instant): Operation | undefined {
    const id = this.#deadlines.expired(now);
    return id === undefined ? undefined : this.#byId.get(id);
  }

  #keepFinished(operation: Operation): void {
    const at = "at" in operation.state ? operation.state.at : operation.createdAt;
    this.#deadlines.set(operation.id, at + this.#tuning.finishedFor);
  }
}
