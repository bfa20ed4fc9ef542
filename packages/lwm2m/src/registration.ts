import { EMPTY, FormatError, UsageError, fromUtf8, utf8 } from "@godwit/base";
import {
  Code,
  ContentFormat,
  OptionNumber,
  findOption,
  findUint,
  request,
  uriQuery,
  type Request,
} from "@godwit/coap";
import { DEFAULT_TRANSPORTS, formatBinding, parseBinding } from "./binding.ts";
import {
  formatObjectList,
  parseObjectList,
  type ListStyle,
  type ObjectList,
} from "./object-list.ts";
import { readQuery } from "./query.ts";
import { RefusalError, orRefused, shown, type Refusal } from "./refusal.ts";
import { LWM2M_VERSIONS, atLeast, isLwm2mVersion, type Lwm2mVersion } from "./version.ts";

/** What a Register says (OMA TS Core table 6.2.1), defaults filled in. */
export type Registration = {
  /** Absent from 1.1 on where the security layer says who it is. */
  readonly endpoint: string | undefined;
  /** Seconds; 0 never ends. */
  readonly lifetime: number;
  readonly lwm2m: Lwm2mVersion;
  /** "U" and the like, without the queue flag. */
  readonly binding: string;
  readonly queue: boolean;
  /** Number for SMS, digits only. */
  readonly sms: string | undefined;
  /** 1.2: names of object lists. */
  readonly profileIds: readonly string[];
  /** Absent where profile ids stand for it. */
  readonly objects: ObjectList | undefined;
};

/** What an Update says: only what is there has changed. A list of objects is complete. */
export type RegistrationUpdate = {
  readonly lifetime?: number;
  readonly binding?: string;
  readonly queue?: boolean;
  readonly sms?: string;
  readonly profileIds?: readonly string[];
  readonly objects?: ObjectList;
};

export type ParsedRegister = { readonly type: "register"; readonly registration: Registration };
export type ParsedUpdate = { readonly type: "update"; readonly update: RegistrationUpdate };

export type RegisterRules = {
  /** The versions the server serves; others are answered 4.12. */
  readonly versions?: readonly Lwm2mVersion[];
};

/**
 * Reads a Register request; its path is not looked at. Whether the endpoint may register, and who it proved to be, is the
 * caller's to judge.
 */
export function parseRegister(
  register: Request,
  rules: RegisterRules = {},
): ParsedRegister | Refusal {
  return orRefused(() => {
    const query = readQuery(uriQuery(register.options));
    const lwm2m = readLwm2m(query, rules.versions ?? LWM2M_VERSIONS);
    checkNames(
      query,
      atLeast(lwm2m, "1.2") ? REGISTER_1_2 : atLeast(lwm2m, "1.1") ? REGISTER_1_1 : REGISTER_1_0,
      lwm2m,
    );
    checkValues(query);
    const endpoint = readEndpoint(query, lwm2m);
    const changes = readChanges(register, query, lwm2m);
    if (changes.lifetime === undefined && atLeast(lwm2m, "1.1"))
      throw new FormatError("lt is missing");
    const profileIds = changes.profileIds ?? [];
    if ((changes.objects?.objects.length ?? 0) === 0 && profileIds.length === 0) {
      if (atLeast(lwm2m, "1.2")) throw new RefusalError(Code.Conflict, "neither objects nor pid");
      throw new FormatError("the payload lists no objects");
    }
    return {
      type: "register" as const,
      registration: {
        endpoint,
        lifetime: changes.lifetime ?? DEFAULT_LIFETIME,
        lwm2m,
        binding: changes.binding ?? DEFAULT_TRANSPORTS,
        queue: changes.queue ?? false,
        sms: changes.sms,
        profileIds,
        objects: changes.objects,
      },
    };
  });
}

/** The endpoint name that a Register claims, without a look at anything else in it. */
export function claimedEndpoint({ options }: Request): string | undefined {
  const found = options.find(
    ({ number, value }) => number === OptionNumber.UriQuery && startsWith(value, EP),
  );
  return found && fromUtf8(found.value.subarray(EP.length));
}

/**
 * Reads an Update of a registration made in version `lwm2m`; its path is not looked at. Parameters that an Update does
 * not have are ignored, though OMA TS Core 6.2.2 has 4.00 for them: clients in the field repeat `ep` or `lwm2m`, and what
 * they say is clear.
 */
export function parseUpdate(update: Request, lwm2m: Lwm2mVersion): ParsedUpdate | Refusal {
  if (update.payload.length === 0 && !hasQuery(update)) return NO_CHANGES; // most Updates are bare
  return orRefused(() => {
    const query = readQuery(
      uriQuery(update.options),
      atLeast(lwm2m, "1.2") ? UPDATE_1_2 : atLeast(lwm2m, "1.1") ? UPDATE_1_1 : UPDATE_1_0,
    );
    checkValues(query);
    return { type: "update" as const, update: readChanges(update, query, lwm2m) };
  });
}

/** What goes into a Register; what is absent is not sent. */
export type RegisterParts = ListStyle & {
  readonly endpoint?: string | undefined;
  readonly lwm2m: Lwm2mVersion;
  readonly lifetime?: number;
  readonly binding?: string;
  readonly queue?: boolean;
  readonly sms?: string | undefined;
  readonly profileIds?: readonly string[];
  readonly objects?: ObjectList | undefined;
};

/** `POST /rd?ep=…`, as short as it gets. @throws UsageError for an endpoint name that does not fit its parameter */
export function formatRegister(parts: RegisterParts): Request {
  const query: string[] = [];
  if (parts.endpoint !== undefined) {
    const fault = endpointFault(parts.endpoint);
    if (fault !== undefined) throw new UsageError(fault);
    query.push(`ep=${parts.endpoint}`);
  }
  if (parts.lifetime !== undefined) query.push(`lt=${parts.lifetime}`);
  query.push(`lwm2m=${parts.lwm2m}`, ...formatChanges(parts, parts.lwm2m));
  return request(Code.POST, {
    path: [REGISTRATION_PATH],
    query,
    ...listPayload(parts.objects, parts),
  });
}

/** `POST` to the location that the Register was given; an empty update only says that the client is there. */
export function formatUpdate(
  location: readonly string[],
  update: RegistrationUpdate,
  lwm2m: Lwm2mVersion,
  style: ListStyle = {},
): Request {
  const query = update.lifetime === undefined ? [] : [`lt=${update.lifetime}`];
  query.push(...formatChanges(update, lwm2m));
  return request(Code.POST, { path: location, query, ...listPayload(update.objects, style) });
}

export function formatDeregister(location: readonly string[]): Request {
  return request(Code.DELETE, { path: location });
}

/** Why `name` cannot be an endpoint name, if so. */
export function endpointFault(name: string): string | undefined {
  if (name === "") return "ep is empty";
  if (utf8(name).length > MAX_ENDPOINT_BYTES)
    return `ep is longer than ${MAX_ENDPOINT_BYTES} bytes`;
  return UNPRINTABLE.test(name) ? "ep has control characters" : undefined;
}

function readLwm2m(
  query: ReadonlyMap<string, string | undefined>,
  versions: readonly Lwm2mVersion[],
): Lwm2mVersion {
  const text = query.has("lwm2m") ? (query.get("lwm2m") ?? "") : "1.0";
  if (!/^\d{1,3}\.\d{1,3}$/.test(text))
    throw new FormatError(`lwm2m "${shown(text)}" is no version`);
  if (!isLwm2mVersion(text) || !versions.includes(text)) {
    throw new RefusalError(
      Code.PreconditionFailed,
      `LwM2M ${text} is not served, ${versions.join(", ")} are`,
    );
  }
  return text;
}

/** OMA TS Core 6.2.1: an unknown parameter is answered 4.00. */
function checkNames(
  query: ReadonlyMap<string, string | undefined>,
  known: ReadonlySet<string>,
  lwm2m: Lwm2mVersion,
): void {
  for (const name of query.keys()) {
    if (!known.has(name))
      throw new FormatError(`unknown parameter "${shown(name)}" in LwM2M ${lwm2m}`);
  }
}

function checkValues(query: ReadonlyMap<string, string | undefined>): void {
  for (const [name, value] of query) {
    if (name === "Q" && value !== undefined) throw new FormatError("Q has a value");
    if (name !== "Q" && (value ?? "") === "") throw new FormatError(`${name} is empty`);
  }
}

function readEndpoint(
  query: ReadonlyMap<string, string | undefined>,
  lwm2m: Lwm2mVersion,
): string | undefined {
  const endpoint = query.get("ep");
  if (endpoint === undefined) {
    if (!atLeast(lwm2m, "1.1")) throw new FormatError("ep is missing");
    return undefined;
  }
  const fault = endpointFault(endpoint);
  if (fault !== undefined) throw new FormatError(fault);
  return endpoint;
}

function readChanges(
  { options, payload }: Request,
  query: ReadonlyMap<string, string | undefined>,
  lwm2m: Lwm2mVersion,
): RegistrationUpdate {
  const lt = query.get("lt");
  const b = query.get("b");
  const sms = query.get("sms");
  const pid = query.get("pid");
  const binding = b === undefined ? undefined : parseBinding(b, lwm2m);
  if (sms !== undefined && !/^\d{1,20}$/.test(sms))
    throw new FormatError("sms is not digits alone");
  const queue = atLeast(lwm2m, "1.1") ? query.has("Q") || undefined : binding?.queue;
  return {
    ...(lt !== undefined && { lifetime: readLifetime(lt) }),
    ...(binding !== undefined && { binding: binding.transports }),
    ...(queue !== undefined && { queue }),
    ...(sms !== undefined && { sms }),
    ...(pid !== undefined && { profileIds: readProfileIds(pid) }),
    ...(payload.length > 0 && { objects: readObjects(options, payload) }),
  };
}

function startsWith(value: Uint8Array, prefix: Uint8Array): boolean {
  return prefix.every((byte, i) => value[i] === byte);
}

function hasQuery({ options }: Request): boolean {
  return findOption(options, OptionNumber.UriQuery) !== undefined;
}

function readLifetime(text: string): number {
  if (!/^\d{1,10}$/.test(text))
    throw new FormatError(`lt "${shown(text)}" is no number of seconds`);
  if (Number(text) > MAX_LIFETIME) throw new FormatError(`lt is above ${MAX_LIFETIME}`);
  return Number(text);
}

function readObjects(options: Request["options"], payload: Uint8Array): ObjectList {
  const format = findUint(options, OptionNumber.ContentFormat) ?? ContentFormat.LinkFormat;
  if (format !== ContentFormat.LinkFormat) {
    throw new RefusalError(
      Code.UnsupportedContentFormat,
      `objects come in Content-Format ${ContentFormat.LinkFormat}, not ${format}`,
    );
  }
  return parseObjectList(payload);
}

/** One id, or several in quotes with commas between (OMA TS Core 6.2.1.3). */
function readProfileIds(text: string): readonly string[] {
  const inner =
    text.startsWith('"') && text.endsWith('"') && text.length > 1 ? text.slice(1, -1) : text;
  const ids = inner.split(",");
  if (ids.length > MAX_PROFILE_IDS)
    throw new FormatError(`more than ${MAX_PROFILE_IDS} profile ids`);
  for (const id of ids) {
    if (!/^[\w-]{1,32}:[\w.~:/-]{1,200}$/.test(id))
      throw new FormatError(`pid "${shown(id)}" is no profile id`);
  }
  return ids;
}

function formatChanges(parts: RegistrationUpdate | RegisterParts, lwm2m: Lwm2mVersion): string[] {
  const query: string[] = [];
  const inLetters = !atLeast(lwm2m, "1.1");
  const transports =
    parts.binding ?? (inLetters && parts.queue !== undefined ? DEFAULT_TRANSPORTS : undefined);
  if (transports !== undefined) {
    query.push(`b=${formatBinding({ transports, queue: parts.queue ?? false }, lwm2m)}`);
  }
  if (parts.queue === true && !inLetters) query.push("Q");
  if (parts.sms !== undefined) query.push(`sms=${parts.sms}`);
  const [id, ...more] = parts.profileIds ?? [];
  if (id !== undefined)
    query.push(more.length === 0 ? `pid=${id}` : `pid="${[id, ...more].join(",")}"`);
  return query;
}

function listPayload(
  objects: ObjectList | undefined,
  style: ListStyle,
): {
  contentFormat?: number;
  payload: Uint8Array;
} {
  const payload = objects === undefined ? EMPTY : utf8(formatObjectList(objects, style));
  return payload.length === 0 ? { payload } : { contentFormat: ContentFormat.LinkFormat, payload };
}

/** Where clients register. */
export const REGISTRATION_PATH = "rd";
/** Seconds, where 1.0 leaves `lt` out (OMA TS Core 1.0 table 6). */
export const DEFAULT_LIFETIME = 86_400;
/** /1/x/1 and `lt` are 32 bits wide in every stack. */
export const MAX_LIFETIME = 0xffff_ffff;
const MAX_ENDPOINT_BYTES = 255;
const MAX_PROFILE_IDS = 16;

/** Control characters, and those that reverse the direction of the text around them. */
const UNPRINTABLE = /[\p{Cc}\u{2028}\u{2029}\u{202a}-\u{202e}\u{2066}-\u{2069}]/u;

const EP = utf8("ep=");

const NO_CHANGES: ParsedUpdate = { type: "update", update: {} };

const UPDATE_1_0: ReadonlySet<string> = new Set(["lt", "b", "sms"]);
const UPDATE_1_1: ReadonlySet<string> = new Set([...UPDATE_1_0, "Q"]);
const UPDATE_1_2: ReadonlySet<string> = new Set([...UPDATE_1_1, "pid"]);
const REGISTER_1_0: ReadonlySet<string> = new Set([...UPDATE_1_0, "ep", "lwm2m"]);
const REGISTER_1_1: ReadonlySet<string> = new Set([...UPDATE_1_1, "ep", "lwm2m"]);
const REGISTER_1_2: ReadonlySet<string> = new Set([...UPDATE_1_2, "ep", "lwm2m"]);
