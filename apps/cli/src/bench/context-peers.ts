import { toHex } from "@godwit/base";
import { decodeMessage, encodeMessage } from "@godwit/coap";
import {
  KeySource,
  protectRequest,
  unprotectResponse,
  type InputParameters,
  type RequestBinding,
  type SecurityContext,
} from "@godwit/oscore";
import type { LoopProtection } from "./closed-loop.ts";

/** The devices' ends of OSCORE contexts, one for each client of the load; what they send is new each time. */
export class ContextPeers implements LoopProtection {
  readonly #contexts: SecurityContext[] = [];
  readonly #bindings: RequestBinding[] = [];

  seal(client: number, message: Uint8Array): Uint8Array {
    const context = (this.#contexts[client] ??= new KeySource(inputOf(client)).derive(undefined));
    const { type, mid, token, ...request } = decodeMessage(message);
    const made = protectRequest(context, request);
    if (made === undefined) throw new Error("a client of the load has no sequence number left");
    this.#bindings[client] = made.binding;
    return encodeMessage({ type, mid, token, ...made.request });
  }

  open(client: number, answer: Uint8Array): Uint8Array {
    const { type, mid, token, ...outer } = decodeMessage(answer);
    const opened = unprotectResponse(this.#bindings[client]!, outer); // it has asked
    if (opened.kind === "ignored")
      throw new Error(`an answer is not protected as it should be: ${opened.reason}`);
    return encodeMessage({ type, mid, token, ...opened.response });
  }
}

/** What the server is told of the device with this number, as JSON. */
export function credentialJson(client: number): Record<string, string> {
  const { senderId, recipientId, masterSecret } = inputOf(client);
  return {
    kind: "oscore",
    endpoint: endpointName(client),
    senderId: toHex(recipientId), // the server's
    recipientId: toHex(senderId),
    masterSecret: toHex(masterSecret),
    derivation: "fixed",
  };
}

export function endpointName(client: number): string {
  return `bench-${client}`;
}

/** Seen from the device. Nothing is kept secret by it, so the secret may be a number. */
export function inputOf(client: number): InputParameters {
  const senderId = Uint8Array.of(client >>> 16, client >>> 8, client);
  const masterSecret = new Uint8Array(16).fill(0xa5);
  masterSecret.set(senderId, 4);
  return { senderId, recipientId: Uint8Array.of(0x53), masterSecret };
}
