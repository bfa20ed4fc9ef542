import type { Instant, SessionId } from "@godwit/base";
import type { Request, RequestId } from "@godwit/coap";
import { effectiveAttributes, type Attributes } from "../attributes.ts";
import { parseNodePath } from "../node-path.ts";

//   wanted ──asked──> asking ──2.05 with Observe──> active ──nothing by dueBy──> asked again, under the same token
//      ^                 │ another answer             │  │ 4.04, or any other error
//      │                 v                            │  v
//      ├── listed ── refused <────────────────────────┼──┘
//      └── registered anew, new keys, restart <───────┘
//   active ──its last owner leaves──> ending ──Observe 1 answered, or registered anew──> gone

/** A path of a device that somebody wants to hear of. */
export type WantedObservation = {
  readonly endpoint: string;
  readonly path: string;
  /** As it is asked for. */
  request: Request;
  /** Who wants it: it ends with the last of them. */
  readonly owners: string[];
  /** pmin and pmax that were attached to the path and those above it, by the number of their ids. */
  readonly levels: Attributes[];
  state: ObservationState;
};

export type ObservationState =
  /** Asked for when the device can be asked. */
  | { readonly name: "wanted"; readonly why: "unregistered" | "registered" | "keys" | "restart" }
  /** `operation` asks for it. `first`: it is not wanted by anybody should that fail. */
  | { readonly name: "asking"; readonly operation: number; readonly first: boolean }
  | ActiveObservation
  /** The device answered, and does not observe it. `code` 0: it rejected the question, or its answer cannot be read. */
  | { readonly name: "refused"; readonly code: number; readonly at: Instant }
  | EndingObservation;

/** Nobody wants it any more, and the device does not know yet. */
export type EndingObservation = {
  readonly name: "ending";
  /** Notifications still come as responses to it, and go nowhere. */
  readonly request: RequestId;
  readonly token: Uint8Array;
  session: SessionId;
  /** The order that tells the device. */
  operation: number | undefined;
};

/** The device reports. */
export type ActiveObservation = {
  readonly name: "active";
  /** Notifications come as responses to it. */
  readonly request: RequestId;
  readonly token: Uint8Array;
  session: SessionId;
  /** When the device last reported. */
  heardAt: Instant;
  /** Is it silent then, it is asked again. */
  dueBy: Instant;
  /** How often it was asked again, without an answer. */
  failures: number;
  /** The order that asks again. */
  refresh: number | undefined;
};

/** One observation per endpoint and path. */
export class Observations {
  readonly #byRequest = new Map<RequestId, WantedObservation>();
  readonly #byEndpoint = new Map<string, Map<string, WantedObservation>>();

  /** The active or ending one whose notifications are responses to this request. */
  byRequest(id: RequestId): WantedObservation | undefined {
    return this.#byRequest.get(id);
  }

  find(endpoint: string, path: string): WantedObservation | undefined {
    return this.#byEndpoint.get(endpoint)?.get(path);
  }

  count(endpoint: string): number {
    return this.#byEndpoint.get(endpoint)?.size ?? 0;
  }

  /** A copy: the caller may change the set while it goes through. */
  of(endpoint: string): readonly WantedObservation[] {
    const paths = this.#byEndpoint.get(endpoint);
    return paths === undefined ? [] : [...paths.values()];
  }

  add(observation: WantedObservation): void {
    const { endpoint, path } = observation;
    const paths = this.#byEndpoint.get(endpoint) ?? new Map<string, WantedObservation>();
    paths.set(path, observation);
    this.#byEndpoint.set(endpoint, paths);
    this.#list(observation);
  }

  become(observation: WantedObservation, state: ObservationState): void {
    this.#unlist(observation);
    observation.state = state;
    this.#list(observation);
  }

  remove(observation: WantedObservation): void {
    const { endpoint, path } = observation;
    this.#unlist(observation);
    const paths = this.#byEndpoint.get(endpoint);
    if (paths?.get(path) !== observation) return;
    paths.delete(path);
    if (paths.size === 0) this.#byEndpoint.delete(endpoint);
  }

  #list(observation: WantedObservation): void {
    const { state } = observation;
    if (state.name === "active" || state.name === "ending")
      this.#byRequest.set(state.request, observation);
  }

  #unlist({ state }: WantedObservation): void {
    if (state.name === "active" || state.name === "ending") this.#byRequest.delete(state.request);
  }
}

/** Seconds within which a report is due, as far as the server knows (OMA TS Core 7.3). */
export function pmaxOf({ path, levels }: WantedObservation): number | undefined {
  return effectiveAttributes(parseNodePath(path), (at) => levels[at.length]).pmax;
}

export function observationKey(observation: {
  readonly endpoint: string;
  readonly path: string;
}): string {
  return `${observation.endpoint} ${observation.path}`;
}
