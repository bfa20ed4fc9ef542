// What flow tests watch and drop of what crosses the wire.

import { CON, decodeMessage, isRequest, uriPath, type Message } from "@godwit/coap";
import type { Host } from "@godwit/netsim";
import type { TestDevice } from "./kit.test.ts";

/** A request of the device as it left, without retransmissions. */
export type SentRequest = { readonly at: number; readonly path: string; readonly message: Message };

/** Writes down the device's own requests from now on. */
export function requestsOf(device: TestDevice): readonly SentRequest[] {
  const sent: SentRequest[] = [];
  let last = -1;
  device.host.link.up.watch(({ at, bytes }) => {
    const message = decodeMessage(new Uint8Array(bytes), 8);
    if (message.type !== CON || !isRequest(message.code) || message.mid === last) return;
    last = message.mid;
    sent.push({ at, path: `/${uriPath(message.options).join("/")}`, message });
  });
  return sent;
}

/** Drops datagrams of one direction that `which` picks, until it has dropped `count`. */
export function lose(
  direction: Host["link"]["up"],
  which: (message: Message) => boolean,
  count = 1,
): { readonly dropped: () => number; readonly stop: () => void } {
  let dropped = 0;
  let left = true;
  direction.tap(({ bytes }) => {
    if (!left || dropped >= count || !which(decodeMessage(new Uint8Array(bytes), 8))) return "pass";
    dropped += 1;
    return "drop";
  });
  return { dropped: () => dropped, stop: () => void (left = false) };
}
