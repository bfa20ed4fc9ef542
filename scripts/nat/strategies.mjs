// The devices of a NAT trial: one for each strategy, and the credentials that the server knows them by.
import { oscore, psk } from "../../packages/client/dist/index.js";

const KEY = "000102030405060708090a0b0c0d0e0f";
const SECRET = "0102030405060708090a0b0c0d0e0f10";

/** `scheme`: how it comes. `handshakes`: whether its sessions may be resumed or begun anew after the first. */
export const STRATEGIES = {
  udp: { scheme: "coap", options: {} },
  "keep-alive": { scheme: "coap", options: { keepAlive: "auto" } },
  queue: { scheme: "coap", options: { queueMode: true } },
  resume: { scheme: "coaps", options: { strategy: "resume" }, psk: true },
  cid: { scheme: "coaps", options: { strategy: "cid" }, psk: true, once: true },
  oscore: { scheme: "coap", options: {}, oscore: "02", once: true },
};

export const endpointOf = (name) => `nat-${name}`;

/** What a device's program gives to `new Device`, but for the server's address and the store. */
export function deviceOptions(name) {
  const { options, psk: byPsk, oscore: senderId } = STRATEGIES[name];
  const endpoint = endpointOf(name);
  if (byPsk) return { endpoint, ...options, security: psk(endpoint, KEY) };
  if (senderId === undefined) return { endpoint, ...options };
  const security = oscore({ senderId, recipientId: "01", masterSecret: SECRET });
  return { endpoint, ...options, security };
}

/** The server's `--credentials` file. */
export function credentials() {
  return Object.entries(STRATEGIES).flatMap(([name, { psk: byPsk, oscore: senderId }]) => {
    const endpoint = endpointOf(name);
    if (byPsk) return [{ kind: "psk", endpoint, identity: endpoint, key: KEY }];
    if (senderId === undefined) return [];
    return [
      {
        kind: "oscore",
        endpoint,
        senderId: "01",
        recipientId: senderId,
        masterSecret: SECRET,
        derivation: "negotiated",
      },
    ];
  });
}
