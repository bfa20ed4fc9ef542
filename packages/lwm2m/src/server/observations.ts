import type { Request } from "@godwit/coap";

/** A path of a device that somebody wants to hear of. */
export type Observation = {
  /** The request id under which notifications come. */
  readonly id: number;
  readonly endpoint: string;
  readonly path: string;
  readonly token: Uint8Array;
  readonly request: Request;
  /** Set up at the device; else it is set up again when the device registers. */
  active: boolean;
};

/** One observation per endpoint and path, a bounded number per endpoint. */
export class Observations {
  readonly #byId = new Map<number, Observation>();
  readonly #byEndpoint = new Map<string, Map<string, Observation>>();
  readonly #limit: number;

  constructor(limitPerEndpoint: number) {
    this.#limit = limitPerEndpoint;
  }

  byId(id: number): Observation | undefined {
    return this.#byId.get(id);
  }

  find(endpoint: string, path: string): Observation | undefined {
    return this.#byEndpoint.get(endpoint)?.get(path);
  }

  /** A copy: the caller may change the set while it goes through. */
  of(endpoint: string): readonly Observation[] {
    const paths = this.#byEndpoint.get(endpoint);
    return paths === undefined ? [] : [...paths.values()];
  }

  /** False: the endpoint has as many as it may have. */
  add(observation: Observation): boolean {
    const { id, endpoint, path } = observation;
    const paths = this.#byEndpoint.get(endpoint) ?? new Map<string, Observation>();
    if (!paths.has(path) && paths.size >= this.#limit) return false;
    paths.set(path, observation);
    this.#byEndpoint.set(endpoint, paths);
    this.#byId.set(id, observation);
    return true;
  }

  remove(observation: Observation): void {
    const { id, endpoint, path } = observation;
    this.#byId.delete(id);
    const paths = this.#byEndpoint.get(endpoint);
    if (paths?.get(path) !== observation) return;
    paths.delete(path);
    if (paths.size === 0) this.#byEndpoint.delete(endpoint);
  }
}
