import { formatAddress, toHex, type Path } from "@godwit/base";
import { formatCode } from "@godwit/coap";
import {
  credentialIdOf,
  type DroppedFrom,
  type ServerStack,
  type ServerStackOutput,
} from "@godwit/lwm2m";
import { RULES } from "./refusal-words.ts";
import type { Refused, RefusedFor } from "./refusals.ts";

type Output<T> = Extract<ServerStackOutput, { readonly type: T }>;

export function failedHandshake(output: Output<"handshakeFailed">): Refused {
  const { reason, why, claimed, endpoint, path } = output;
  return {
    stage: "handshake",
    reason,
    code: undefined,
    endpoint,
    identity: credentialIdOf(claimed),
    address: formatAddress(path.remote),
    rule: RULES[reason] ?? why,
  };
}

export function refusedRegistration(
  output: Output<"refused">,
  path: Path | undefined,
  stack: Pick<ServerStack, "endpointOf">,
): Refused {
  const { reason, code, detail, endpoint, identity } = output;
  return {
    stage: "registration",
    reason,
    code: formatCode(code),
    endpoint,
    identity: credentialIdOf(identity),
    address: addressOf(path),
    rule: reason === "endpointMismatch" ? mismatch(output, stack) : (RULES[reason] ?? detail),
  };
}

function mismatch(
  { endpoint, identity }: Output<"refused">,
  stack: Pick<ServerStack, "endpointOf">,
): string {
  const [named, own] = [endpoint, stack.endpointOf(identity)].map((one) => JSON.stringify(one));
  return `Register names the endpoint ${named}, and the credential belongs to ${own}`;
}

export function refusedByOscore(
  dropped: string,
  { path, kid, answered }: DroppedFrom,
  stack: Pick<ServerStack, "endpointOf">,
): Refused {
  const reason = oscoreReason(dropped);
  const identity = { kind: "oscore", senderId: toHex(kid), idContext: undefined } as const;
  return {
    stage: "oscore",
    reason,
    code: answered ? CODES.get(reason) : undefined,
    endpoint: stack.endpointOf(identity),
    identity: credentialIdOf(identity),
    address: addressOf(path),
    rule: RULES[reason] ?? dropped,
  };
}

function addressOf(path: Path | undefined): string {
  return path === undefined ? "" : formatAddress(path.remote);
}

export function oscoreReason(dropped: string): RefusedFor {
  return OSCORE.get(dropped) ?? "badOption";
}

const OSCORE: ReadonlyMap<string, RefusedFor> = new Map([
  ["unknownKid", "unknownContext"],
  ["unknownContext", "unknownContext"],
  ["forged", "forged"],
  ["badOption", "badOption"],
]);
/** RFC 8613 8.2. */
const CODES: ReadonlyMap<RefusedFor, string> = new Map([
  ["unknownContext", "4.01"],
  ["forged", "4.00"],
  ["badOption", "4.02"],
]);
