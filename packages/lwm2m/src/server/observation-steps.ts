// What can be done with one wanted observation: its state changes, is stored, told and shown, and its device is asked.

import { Deadlines, type Instant } from "@godwit/base";
import {
  OBSERVE_DEREGISTER,
  OptionNumber,
  uintOption,
  withOption,
  withoutOption,
  type Request,
  type RequestId,
} from "@godwit/coap";
import type { ServerCore } from "./core.ts";
import { encodeObservation } from "./observation-record.ts";
import { viewState, type ObservationView } from "./observation-view.ts";
import {
  observationKey,
  pmaxOf,
  type ActiveObservation,
  type EndingObservation,
  type ObservationState,
  type WantedObservation,
} from "./observations.ts";
import type { Operation } from "./operation.ts";
import { TABLES } from "./records.ts";
import type { Registration } from "./registration.ts";

export class ObservationSteps {
  /** When what is active is due. Looked at, and put off, when the time noted comes: a notification moves nothing here. */
  readonly due: Deadlines<WantedObservation> = new Deadlines();
  readonly #core: ServerCore;

  constructor(core: ServerCore) {
    this.#core = core;
  }

  want(
    observation: WantedObservation,
    why: Extract<ObservationState, { name: "wanted" }>["why"],
  ): void {
    this.become(observation, { name: "wanted", why });
    this.wantWord(observation.endpoint);
  }

  /** There is something to say to the device. */
  wantWord(endpoint: string): void {
    const registration = this.#core.registry.byEndpoint(endpoint);
    if (registration === undefined) return;
    registration.unasked = true;
    this.#core.wanting.add(registration);
  }

  /** Puts an order of the server's own into the device's queue. */
  enqueue(
    { endpoint, path, request }: WantedObservation,
    kind: "observe" | "cancelObserve",
    registration: Registration,
    now: Instant,
  ): number {
    const operation: Operation = {
      id: this.#core.operationId(),
      endpoint,
      kind,
      path,
      request: kind === "observe" ? request : withObserve(request, OBSERVE_DEREGISTER),
      createdAt: now,
      expiresAt: now + this.#core.tuning.observationAskFor,
      attempts: 0,
      leastIdle: undefined,
      storedHeard: undefined,
      again: undefined,
      state: { name: "waiting" },
      internal: true,
    };
    this.#core.operations.add(operation);
    registration.queue.push(operation);
    return operation.id;
  }

  resume({ request }: WantedObservation, state: ActiveObservation | EndingObservation): void {
    const { request: id, token, session } = state;
    this.abandon(id);
    this.#core.out.push({
      type: "coap",
      input: { type: "resumeObservation", id, session, token, request },
    });
  }

  become(observation: WantedObservation, state: ObservationState): void {
    this.#withdraw(observation.endpoint, orderOf(observation.state));
    this.#core.observations.become(observation, state);
    if (state.name === "active") this.due.set(observation, state.dueBy);
    else this.due.stop(observation);
    this.store([observation]);
  }

  /** An order of ours about it is needed no more. */
  #withdraw(endpoint: string, id: number): void {
    const operation = this.#core.operations.get(id);
    if (operation?.internal !== true) return;
    this.#core.operations.remove(operation);
    const queue = this.#core.registry.byEndpoint(endpoint)?.queue ?? [];
    const place = queue.indexOf(operation);
    if (place >= 0) queue.splice(place, 1);
    this.abandon(operation.id);
  }

  end(observation: WantedObservation): void {
    const { state, endpoint, path } = observation;
    this.#withdraw(endpoint, state.name === "asking" ? state.operation : orderOf(state));
    this.#core.observations.remove(observation);
    this.due.stop(observation);
    if (state.name === "active" || state.name === "ending") this.abandon(state.request);
    const change = {
      table: TABLES.observation,
      key: observationKey(observation),
      value: undefined,
    };
    this.#core.record([change]);
    // Nobody heard of the one, and everybody of the end of the other.
    if ((state.name === "asking" && state.first) || state.name === "ending") return;
    this.#core.out.push({ type: "observation", endpoint, path, state: "ended", reason: ENDED });
  }

  tell({ endpoint, path, state }: WantedObservation, now: Instant): void {
    if (state.name === "ending") return;
    const said = this.stateOf(endpoint, state, now);
    this.#core.out.push({ type: "observation", endpoint, path, ...said });
  }

  stateOf(
    endpoint: string,
    state: Exclude<ObservationState, EndingObservation>,
    now: Instant,
  ): Pick<ObservationView, "state" | "reason"> {
    const { registry, operations } = this.#core;
    const isRegistered = registry.byEndpoint(endpoint) !== undefined;
    const isAsked =
      state.name === "asking" && operations.get(state.operation)?.state.name === "sent";
    return viewState(state, isRegistered, isAsked, now);
  }

  span(observation: WantedObservation): number {
    const { observationSilence, observationMargin } = this.#core.tuning;
    const pmax = pmaxOf(observation);
    return pmax === undefined ? observationSilence : pmax * 1_000 + observationMargin;
  }

  store(observations: readonly WantedObservation[]): void {
    if (observations.length === 0) return;
    this.#core.record(observations.map(observationChange));
  }

  abandon(id: RequestId): void {
    this.#core.out.push({ type: "coap", input: { type: "cancel", id, how: "forget" } });
  }
}

/** What must be stored of an observation. */
export function observationChange(observation: WantedObservation): {
  readonly table: string;
  readonly key: string;
  readonly value: Uint8Array;
} {
  const value = encodeObservation(observation);
  return { table: TABLES.observation, key: observationKey(observation), value };
}

function withObserve(request: Request, value: number): Request {
  const others = withoutOption(request.options, OptionNumber.Observe);
  return { ...request, options: withOption(others, uintOption(OptionNumber.Observe, value)) };
}

/** The order under way for what is there already; none has the number -1. */
function orderOf(state: ObservationState): number {
  if (state.name === "active") return state.refresh ?? -1;
  return state.name === "ending" ? (state.operation ?? -1) : -1;
}

export const ENDED = "nobody wants it any more";
