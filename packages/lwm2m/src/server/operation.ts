import type { Instant } from "@godwit/base";
import type { Request, Response } from "@godwit/coap";
import type { OperationKind } from "./events.ts";

/** A user's order to a device: accepted durably, sent when the device can hear it, ended exactly once. */
export type Operation = {
  readonly id: number;
  readonly endpoint: string;
  readonly kind: OperationKind;
  readonly path: string;
  readonly request: Request;
  readonly createdAt: Instant;
  readonly expiresAt: Instant;
  attempts: number;
  /** How often the device answered 5.03, since we started. */
  putOff?: number;
  /** The shortest silence of the device, in ms, before it was sent; `undefined`: never sent. Durable for what is not idempotent. */
  leastIdle: number | undefined;
  /** Whether it may have been heard, as the store knows it; `undefined`: the store knows of no sending. */
  storedHeard: boolean | undefined;
  /** Under which it was first sent: sent again under the same, a device that has it answers without acting twice. */
  again: { readonly mid: number; readonly token: Uint8Array } | undefined;
  state: OperationState;
  /** Of observe and cancelObserve: who wants it, or no more; anybody unless given. */
  owner?: string | undefined;
  /** Of an observe: whom its answer makes an owner; nobody who has left meanwhile. */
  joins?: string | undefined;
  /** The server's own, to observe again: nobody is told of it, and it does not outlive a restart. */
  readonly internal?: true;
};

export type OperationState =
  /** Accepted; the device cannot be reached now, or earlier operations go first. */
  | { readonly name: "waiting" }
  | { readonly name: "sent"; readonly at: Instant; readonly idle: number }
  | { readonly name: "done"; readonly at: Instant; readonly response: Response }
  | {
      readonly name: "failed";
      readonly at: Instant;
      readonly reason: string;
      /** It was never accepted: a limit was reached, or the store refused it. */
      readonly notAccepted?: "limit" | "storage";
      /** An Observe was answered, but the path is not observed (RFC 7641 2). */
      readonly notObserved?: true;
    }
  | { readonly name: "expired"; readonly at: Instant }
  | { readonly name: "cancelled"; readonly at: Instant };

/** A copy that no later change reaches. */
export type OperationView = Readonly<
  Omit<Operation, "again" | "leastIdle" | "storedHeard" | "putOff" | "internal" | "owner" | "joins">
>;

export function viewOperation(operation: Operation): OperationView {
  const { again: _1, leastIdle: _2, storedHeard: _3, ...rest } = operation;
  const { putOff: _4, internal: _5, owner: _6, joins: _7, ...view } = rest;
  return view;
}

export function isFinal(state: OperationState): boolean {
  return state.name !== "waiting" && state.name !== "sent";
}

/**
 * Whether doing it twice is the same as doing it once. What is not is sent only after its message id and token are
 * durable, so that even a killed server repeats it as a retransmission and not as a new order.
 */
export function isIdempotent(kind: OperationKind, request: Request): boolean {
  if (kind === "execute" || kind === "create") return false;
  return kind !== "write" || request.code === PUT;
}

const PUT = 0x03;
