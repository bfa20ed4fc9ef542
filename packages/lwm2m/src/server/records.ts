// The durable form of what the server promised. Each record opens with its layout's version; integers are big-endian,
// texts are UTF-8 behind a 16-bit length, instants are 48-bit ms since 1970, ids are 56-bit (below 2^53). A record this code
// cannot read throws FormatError: the caller sets it aside and goes on, so that one torn record does not hide the others.
// Layout 1 had the lower 48 bits of a session's number.

import {
  FormatError,
  Reader,
  Writer,
  fits,
  fromUtf8,
  misfit,
  utf8,
  type Identity,
  type Instant,
  type SessionId,
  type SlottedId,
} from "@godwit/base";
import { decodeBody, encodeBody, type Request, type Response } from "@godwit/coap";
import { formatObjectList, parseObjectList } from "../object-list.ts";
import { isLwm2mVersion } from "../version.ts";
import type { OperationKind } from "./events.ts";
import type { Operation, OperationState } from "./operation.ts";
import { freshReach } from "./reach.ts";
import type { Registration } from "./registration.ts";

/** Table names; `touch` holds what every Update changes, apart, so that an Update writes 24 bytes and not all. */
export const TABLES = {
  registration: "registration",
  touch: "touch",
  operation: "operation",
  observation: "observation",
} as const;

export function encodeRegistration(r: Registration): Uint8Array {
  const w = new Writer(256).u8(LAYOUT);
  text(w, r.id);
  text(w, r.endpoint);
  w.u56(r.session);
  text(w, JSON.stringify(r.identity));
  w.u48(r.lifetime);
  text(w, r.version);
  text(w, r.binding);
  w.u8(r.queueMode ? 1 : 0);
  optionalText(w, r.sms);
  w.u48(Math.floor(r.registeredAt));
  text(w, formatObjectList(r.objects));
  return w.bytes();
}

export function decodeRegistration(bytes: Uint8Array): Registration {
  const { r, layout } = opened(bytes, "registration");
  const id = readText(r);
  const endpoint = readText(r);
  const session = layout === 1 ? r.u48() : r.u56();
  const identity = readIdentity(readText(r));
  const lifetime = r.u48();
  const version = readText(r);
  if (!isLwm2mVersion(version)) throw new FormatError("registration record of an unknown version");
  const binding = readText(r);
  const queueMode = r.u8() === 1;
  const sms = readOptionalText(r);
  const registeredAt = r.u48();
  const objects = parseObjectList(readText(r));
  r.end("the registration record");
  return {
    id,
    endpoint,
    session,
    identity,
    lifetime,
    version,
    binding,
    queueMode,
    sms,
    objects,
    registeredAt,
    updatedAt: registeredAt,
    expiresAt: undefined,
    reach: freshReach(registeredAt),
    proven: false,
    vouchedIn: undefined,
    vouchedAt: 0,
    unasked: false,
    queue: [],
  };
}

/** What an Update makes durable. `expiresAt` undefined: never. */
export type Touch = {
  readonly updatedAt: Instant;
  readonly expiresAt: Instant | undefined;
  readonly session: SessionId;
};

export function encodeTouch({ updatedAt, expiresAt = 0, session }: Touch): Uint8Array {
  // Written for every Update, so without a Writer between.
  const bytes = new Uint8Array(TOUCH_LENGTH);
  bytes[0] = LAYOUT;
  putU48(bytes, 1, Math.floor(updatedAt));
  putU48(bytes, 7, Math.ceil(expiresAt));
  putU56(bytes, 13, session);
  return bytes;
}

export function decodeTouch(bytes: Uint8Array): Touch {
  const { r, layout } = opened(bytes, "touch");
  const updatedAt = r.u48();
  const expiresAt = r.u48();
  const session = layout === 1 ? r.u48() : r.u56();
  r.end("the touch record");
  return { updatedAt, expiresAt: expiresAt === 0 ? undefined : expiresAt, session };
}

export function encodeOperation(o: Operation): Uint8Array {
  const w = new Writer(128).u8(LAYOUT).u56(o.id);
  text(w, o.endpoint);
  text(w, o.kind);
  text(w, o.path);
  w.u48(Math.floor(o.createdAt)).u48(Math.ceil(o.expiresAt)).u16(Math.min(o.attempts, 0xffff));
  if (o.again === undefined) w.u8(0);
  else {
    w.u8(1).u16(o.again.mid);
    w.u8(o.again.token.length).append(o.again.token);
    w.u48(Math.floor(o.leastIdle ?? 0)); // sent it was: better to think that it was heard
  }
  message(w, o.request);
  encodeState(w, o.state);
  if (o.owner !== undefined) text(w, o.owner);
  return w.bytes();
}

export function decodeOperation(bytes: Uint8Array): Operation {
  const { r, layout } = opened(bytes, "operation");
  const id = readId(r, layout);
  const endpoint = readText(r);
  const kind = readText(r) as OperationKind;
  if (!KINDS.has(kind)) throw new FormatError("operation record of an unknown kind");
  const path = readText(r);
  const createdAt = r.u48();
  const expiresAt = r.u48();
  const attempts = r.u16();
  const again = r.u8() === 1 ? { mid: r.u16(), token: r.take(r.u8()).slice() } : undefined;
  const leastIdle = again === undefined ? undefined : r.u48();
  const request = readMessage(r);
  const state = decodeState(r);
  const owner = r.left > 0 ? readText(r) : undefined; // in older records never there
  r.end("the operation record");
  return {
    id,
    endpoint,
    kind,
    path,
    createdAt,
    expiresAt,
    attempts,
    leastIdle,
    storedHeard: undefined,
    again,
    request,
    state,
    ...(owner !== undefined && { owner }),
  };
}

/** Keys sort as numbers do: 16 hex digits. */
export function operationKey(id: number): string {
  return id.toString(16).padStart(16, "0");
}

function encodeState(w: Writer, state: OperationState): void {
  switch (state.name) {
    case "waiting":
      w.u8(0);
      return;
    case "sent":
      w.u8(1);
      return;
    case "done":
      w.u8(2).u48(Math.floor(state.at));
      message(w, state.response);
      return;
    case "failed":
      w.u8(3).u48(Math.floor(state.at));
      text(w, state.reason);
      return;
    case "expired":
      w.u8(4).u48(Math.floor(state.at));
      return;
    case "cancelled":
      w.u8(5).u48(Math.floor(state.at));
      return;
  }
}

function decodeState(r: Reader): OperationState {
  const tag = r.u8();
  switch (tag) {
    case 0: // what was on its way when the server ended waits again
    case 1:
      return { name: "waiting" };
    case 2:
      return { name: "done", at: r.u48(), response: readMessage(r) };
    case 3:
      return { name: "failed", at: r.u48(), reason: readText(r) };
    case 4:
      return { name: "expired", at: r.u48() };
    case 5:
      return { name: "cancelled", at: r.u48() };
    default:
      throw new FormatError(`operation record in unknown state ${tag}`);
  }
}

function putU48(bytes: Uint8Array, at: number, value: number): void {
  if (!fits(value, 2 ** 48)) misfit("u48", value);
  const high = Math.floor(value / 2 ** 32);
  bytes[at] = high >>> 8;
  bytes[at + 1] = high;
  bytes[at + 2] = value >>> 24;
  bytes[at + 3] = value >>> 16;
  bytes[at + 4] = value >>> 8;
  bytes[at + 5] = value;
}

function putU56(bytes: Uint8Array, at: number, value: number): void {
  if (!fits(value, 2 ** 53)) misfit("u56", value);
  bytes[at] = Math.floor(value / 2 ** 48);
  putU48(bytes, at + 1, value % 2 ** 48);
}

/** Of an operation or an observation. */
function readId(r: Reader, layout: number): SlottedId {
  if (layout > 1) return r.u56();
  const id = Number(r.u64());
  if (!Number.isSafeInteger(id)) throw new FormatError("a number above 2^53 - 1");
  return id;
}

function opened(bytes: Uint8Array, what: string): { readonly r: Reader; readonly layout: number } {
  const r = new Reader(bytes);
  const layout = r.u8();
  if (layout < 1 || layout > LAYOUT)
    throw new FormatError(`${what} record of unknown layout ${layout}`);
  return { r, layout };
}

function text(w: Writer, value: string): void {
  w.prefixed(2, (inner) => inner.append(utf8(value)));
}

function readText(r: Reader): string {
  return fromUtf8(r.take(r.u16()));
}

function optionalText(w: Writer, value: string | undefined): void {
  w.u8(value === undefined ? 0 : 1);
  if (value !== undefined) text(w, value);
}

function readOptionalText(r: Reader): string | undefined {
  return r.u8() === 1 ? readText(r) : undefined;
}

function readIdentity(json: string): Identity {
  let identity: unknown;
  try {
    identity = JSON.parse(json);
  } catch {
    throw new FormatError("registration record with a broken identity");
  }
  const { kind } = (identity ?? {}) as Partial<Identity>;
  if (kind === undefined || !IDENTITIES.has(kind))
    throw new FormatError("registration record with an unknown kind of identity");
  return identity as Identity;
}

/** Requests and responses are kept as code, CoAP options and payload. */
function message(w: Writer, body: Request | Response): void {
  w.prefixed(3, (inner) => inner.u8(body.code).append(encodeBody(body.options, body.payload)));
}

function readMessage(r: Reader): Request {
  const bytes = r.take(r.u24()).slice();
  const code = new Reader(bytes).u8();
  return { code, ...decodeBody(bytes, 1) };
}

const LAYOUT = 2;
const IDENTITIES: ReadonlySet<Identity["kind"]> = new Set(["none", "psk", "oscore", "rpk", "x509"]);
const TOUCH_LENGTH = 1 + 2 * 6 + 7;
const KINDS: ReadonlySet<string> = new Set<OperationKind>([
  "read",
  "discover",
  "write",
  "writeAttributes",
  "execute",
  "create",
  "delete",
  "observe",
  "cancelObserve",
]);
