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
  /** ms of silence of the device before it was last sent; `undefined`: not sent by this run of the server. */
  lastIdle: number | undefined;
  /** Under which it was first sent: sent again under the same, a device that has it answers without acting twice. */
  again: { readonly mid: number; readonly token: Uint8Array } | undefined;
  state: OperationState;
};

export type OperationState =
  /** Accepted; the device cannot be reached now, or earlier operations go first. */
  | { readonly name: "waiting" }
  | { readonly name: "sent"; readonly at: Instant; readonly idle: number }
  | { readonly name: "done"; readonly at: Instant; readonly response: Response }
  | { readonly name: "failed"; readonly at: Instant; readonly reason: string }
  | { readonly name: "expired"; readonly at: Instant }
  | { readonly name: "cancelled"; readonly at: Instant };

/** A copy that no later change reaches. */
export type OperationView = Readonly<Omit<Operation, "again" | "lastIdle">>;

export function viewOperation(operation: Operation): OperationView {
  const { again: _again, lastIdle: _lastIdle, ...view } = operation;
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
