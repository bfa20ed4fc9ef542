// The durable form of an observation that is wanted. Layout 3 has its owners and its state; 1 and 2 knew active ones only, with
// a number of 8 and of 7 bytes.

import {
  FormatError,
  Reader,
  Writer,
  fromUtf8,
  unreachable,
  utf8,
  type Instant,
} from "@godwit/base";
import { decodeBody, encodeBody, type Request } from "@godwit/coap";
import type { Attributes } from "../attributes.ts";
import type { ObservationState, WantedObservation } from "./observations.ts";
import type { Registration } from "./registration.ts";

/** An observation as it was stored: of an active one, what its notifications are known by. */
export type StoredObservation = Omit<WantedObservation, "state"> & { readonly state: StoredState };

export type StoredState =
  | Extract<ObservationState, { name: "wanted" | "asking" | "refused" }>
  | {
      readonly name: "active";
      readonly request: number;
      readonly token: Uint8Array;
      /** Unknown in layouts 1 and 2. */
      readonly heardAt: number | undefined;
    }
  | { readonly name: "ending"; readonly request: number; readonly token: Uint8Array };

export function encodeObservation(o: WantedObservation): Uint8Array {
  const w = new Writer(96).u8(LAYOUT);
  text(w, o.endpoint);
  text(w, o.path);
  w.prefixed(3, (inner) =>
    inner.u8(o.request.code).append(encodeBody(o.request.options, o.request.payload)),
  );
  w.u8(o.owners.length);
  for (const owner of o.owners) text(w, owner);
  for (let level = 0; level < LEVELS; level++) encodeLevel(w, o.levels[level]);
  encodeState(w, o.state);
  return w.bytes();
}

/** @throws FormatError */
export function decodeObservation(bytes: Uint8Array): StoredObservation {
  const r = new Reader(bytes);
  const layout = r.u8();
  if (layout === 1 || layout === 2) return decodeActive(r, layout);
  if (layout !== LAYOUT) throw new FormatError(`observation record of unknown layout ${layout}`);
  const endpoint = readText(r);
  const path = readText(r);
  const request = readRequest(r);
  const owners = Array.from({ length: r.u8() }, () => readText(r));
  const levels = Array.from({ length: LEVELS }, () => decodeLevel(r));
  const state = decodeState(r);
  r.end("the observation record");
  return { endpoint, path, request, owners, levels, state };
}

/** The number of the order that set it up, or is to; undefined: nothing of it is under way. */
export function numberOf({ state }: StoredObservation): number | undefined {
  if (state.name === "active" || state.name === "ending") return state.request;
  return state.name === "asking" ? state.operation : undefined;
}

/**
 * What a state has become over a restart. undefined: it is wanted no more. `trusted`: no newer state than this was ever stored.
 * `isAsked`: the order that asks for it waits on.
 */
export function restoredState(
  state: StoredState,
  registration: Registration | undefined,
  { trusted, isAsked, dueBy }: RestoredAround,
): ObservationState | undefined {
  switch (state.name) {
    case "active": {
      if (registration === undefined) return { name: "wanted", why: "unregistered" };
      // RFC 8613 B.1.3: what notifications are bound to is lost. A device may have been told since that it is over.
      const { request, token, heardAt = registration.updatedAt } = state;
      // A Register ends what was observed before it; a death between the two writes leaves both.
      const isOver =
        state.heardAt !== undefined && state.heardAt < Math.floor(registration.registeredAt);
      const isLost = registration.identity.kind === "oscore" || !trusted || isOver;
      if (isLost) return { name: "wanted", why: "restart" };
      const { session } = registration;
      return {
        name: "active",
        request,
        token,
        session,
        heardAt,
        dueBy,
        failures: 0,
        refresh: undefined,
      };
    }
    case "asking":
      if (isAsked) return state;
      return state.first ? undefined : { name: "wanted", why: "restart" };
    case "ending": {
      if (registration === undefined) return undefined;
      return { ...state, session: registration.session, operation: undefined };
    }
    case "wanted":
    case "refused":
      return state;
    default:
      return unreachable(state);
  }
}

type RestoredAround = {
  readonly trusted: boolean;
  readonly isAsked: boolean;
  readonly dueBy: Instant;
};

function decodeActive(r: Reader, layout: 1 | 2): StoredObservation {
  const id = layout === 1 ? Number(r.u64()) : r.u56();
  const endpoint = readText(r);
  const path = readText(r);
  const token = r.take(r.u8()).slice();
  const request = readRequest(r);
  r.end("the observation record");
  const state = { name: "active", request: id, token, heardAt: undefined } as const;
  return { endpoint, path, request, owners: [ANYBODY], levels: [], state };
}

function encodeState(w: Writer, state: ObservationState): void {
  switch (state.name) {
    case "wanted":
      w.u8(0).u8(WHY.indexOf(state.why));
      return;
    case "asking":
      w.u8(1)
        .u56(state.operation)
        .u8(state.first ? 1 : 0);
      return;
    case "active":
      w.u8(2).u56(state.request).u8(state.token.length).append(state.token);
      w.u48(Math.floor(state.heardAt));
      return;
    case "refused":
      w.u8(3).u8(state.code).u48(Math.floor(state.at));
      return;
    case "ending":
      w.u8(4).u56(state.request).u8(state.token.length).append(state.token);
      return;
    default:
      return unreachable(state);
  }
}

function decodeState(r: Reader): StoredState {
  const tag = r.u8();
  switch (tag) {
    case 0: {
      const why = WHY[r.u8()];
      if (why === undefined) throw new FormatError("observation record wanted for no known reason");
      return { name: "wanted", why };
    }
    case 1:
      return { name: "asking", operation: r.u56(), first: r.u8() === 1 };
    case 2:
      return {
        name: "active",
        request: r.u56(),
        token: r.take(r.u8()).slice(),
        heardAt: r.u48(),
      };
    case 3:
      return { name: "refused", code: r.u8(), at: r.u48() };
    case 4:
      return { name: "ending", request: r.u56(), token: r.take(r.u8()).slice() };
    default:
      throw new FormatError(`observation record in unknown state ${tag}`);
  }
}

/** pmin and pmax: bit 0 and 1 say which are there. */
function encodeLevel(w: Writer, { pmin, pmax }: Attributes = {}): void {
  w.u8((pmin === undefined ? 0 : 1) | (pmax === undefined ? 0 : 2));
  if (pmin !== undefined) w.u32(pmin);
  if (pmax !== undefined) w.u32(pmax);
}

function decodeLevel(r: Reader): Attributes {
  const there = r.u8();
  if (there > 3) throw new FormatError(`observation record with unknown attributes ${there}`);
  const pmin = (there & 1) === 0 ? undefined : r.u32();
  const pmax = (there & 2) === 0 ? undefined : r.u32();
  return { ...(pmin !== undefined && { pmin }), ...(pmax !== undefined && { pmax }) };
}

function text(w: Writer, value: string): void {
  w.prefixed(2, (inner) => inner.append(utf8(value)));
}

function readText(r: Reader): string {
  return fromUtf8(r.take(r.u16()));
}

function readRequest(r: Reader): Request {
  const bytes = r.take(r.u24()).slice();
  const code = new Reader(bytes).u8();
  return { code, ...decodeBody(bytes, 1) };
}

/** Who wants an observation of which nobody said who does. */
export const ANYBODY = "user";
const LAYOUT = 3;
/** A path has 1 to 4 ids; level 0 stands for none. */
const LEVELS = 5;
const WHY = ["unregistered", "registered", "keys", "restart"] as const;
