import type { Instant, LedgerSnapshot } from "@godwit/base";
import { OptionNumber, codeName, findUint, formatCode } from "@godwit/coap";
import {
  type Definitions,
  type NodePath,
  type ObservationView,
  type OperationKind,
  type OperationView,
  type RegistrationView,
  type ValueNode,
  formatValue,
  parseNodePath,
  valuesIn,
} from "@godwit/lwm2m";

/** What became of an order. Plain data: it goes over HTTP as it is. */
export type Task = {
  /** Decimal digits. */
  readonly id: string;
  readonly endpoint: string;
  readonly operation: OperationKind;
  readonly path: string;
  readonly state: "waiting" | "sent" | "done" | "failed" | "expired" | "cancelled";
  /** ms since 1970. */
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly endedAt: number | undefined;
  /** How often it was sent, or begun to be. */
  readonly attempts: number;
  /** Why it failed, in words. */
  readonly reason: string | undefined;
  /** It was never accepted: a limit was reached, or the store refused it. */
  readonly notAccepted: "limit" | "storage" | undefined;
  /** An Observe was answered, but the path is not observed (RFC 7641 2). */
  readonly notObserved: true | undefined;
  readonly answer: Answer | undefined;
};

/** A device's answer. `values` is there when its format is one we read; `text` when it can be shown as it is. */
export type Answer = {
  /** "2.05" */
  readonly code: string;
  /** "Content" */
  readonly codeName: string | undefined;
  readonly success: boolean;
  readonly contentFormat: number | undefined;
  readonly payloadBytes: number;
  readonly text: string | undefined;
  readonly values: readonly PathValue[] | undefined;
  /** Set when the answer breaks its own format. */
  readonly fault: string | undefined;
};

export type PathValue = {
  readonly path: string;
  readonly type: string | undefined;
  /**
   * Numbers beyond 2^53 and opaque values (Base64) come as text, and so do those that JSON does not have: "NaN", "Infinity" and
   * "-Infinity", of `type` "float". `null`: there is no value; an instance or a multiple resource that exists and is empty.
   */
  readonly value: string | number | boolean | null;
};

/** A registered device for people and programs; plain data. Times are the wall clock's, ms since 1970. */
export type DeviceView = Omit<RegistrationView, "session"> & {
  /** "192.0.2.1:5683": for people to read, never to identify anything by. */
  readonly address: string | undefined;
  readonly ledger: LedgerSnapshot;
  /** What is wanted of the device, and whether it reports. */
  readonly observations: readonly ObservationView[];
};

/** `wall`: the wall time of an instant. */
export function taskOf(
  operation: OperationView,
  definitions: Definitions,
  wall: (at: Instant) => number,
): Task {
  const { state } = operation;
  const ended = state.name === "waiting" || state.name === "sent" ? undefined : state.at;
  return {
    id: String(operation.id),
    endpoint: operation.endpoint,
    operation: operation.kind,
    path: operation.path,
    state: state.name,
    createdAt: wall(operation.createdAt),
    expiresAt: wall(operation.expiresAt),
    endedAt: ended === undefined ? undefined : wall(ended),
    attempts: operation.attempts,
    reason: state.name === "failed" ? state.reason : undefined,
    notAccepted: state.name === "failed" ? state.notAccepted : undefined,
    notObserved: state.name === "failed" ? state.notObserved : undefined,
    answer:
      state.name === "done"
        ? answerOf(parseNodePath(operation.path), state.response, definitions)
        : undefined,
  };
}

type Response = Extract<OperationView["state"], { name: "done" }>["response"];

export function answerOf(path: NodePath, response: Response, definitions: Definitions): Answer {
  const success = response.code >> 5 === 2;
  const contentFormat = findUint(response.options, OptionNumber.ContentFormat);
  const base = {
    code: formatCode(response.code),
    codeName: codeName(response.code),
    success,
    contentFormat,
    payloadBytes: response.payload.length,
    text: printable(response.payload, contentFormat),
    values: undefined,
    fault: undefined,
  };
  if (!success || response.payload.length === 0 || contentFormat === LINK_FORMAT) return base;
  try {
    const nodes = valuesIn(path, response, definitions);
    return { ...base, values: nodes?.map(pathValue) };
  } catch (fault) {
    return { ...base, fault: fault instanceof Error ? fault.message : String(fault) };
  }
}

export function pathValue(node: ValueNode): PathValue {
  const { value } = node;
  return { path: `/${node.path.join("/")}`, type: value?.type, value: plain(value) };
}

function plain(value: ValueNode["value"]): string | number | boolean | null {
  if (value === undefined) return null;
  if (typeof value.value === "boolean") return value.value;
  if (typeof value.value === "number")
    return Number.isFinite(value.value) ? value.value : String(value.value);
  return formatValue(value);
}

/** Diagnostic payloads, text and links are text; the rest is not shown as it is. */
function printable(payload: Uint8Array, contentFormat: number | undefined): string | undefined {
  if (payload.length === 0 || !TEXT_FORMATS.has(contentFormat)) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(payload);
  } catch {
    return undefined;
  }
}

const LINK_FORMAT = 40;
const TEXT_FORMATS: ReadonlySet<number | undefined> = new Set([undefined, 0, LINK_FORMAT]);
