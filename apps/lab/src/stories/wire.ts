import { OptionNumber, decodeMessage, findOption, formatCode, isRequest } from "@godwit/coap";
import { COAPS_PORT } from "./server.ts";

/** What a datagram of the server says to a device that it must not speak to; undefined: nothing, or a refusal. */
export function speaks(bytes: Uint8Array, port: number): string | undefined {
  return port === COAPS_PORT ? speaksDtls(bytes) : speaksCoap(bytes);
}

/** Whether the server has a replay window for what a device sends to this port of it. */
export function mayBeReplayed(bytes: Uint8Array, port: number): boolean {
  return port === COAPS_PORT || isRequest(decodeMessage(new Uint8Array(bytes), 8).code);
}

/** Whatever is protected was sealed under keys that are no longer good; a handshake in clear comes to nothing. */
function speaksDtls(bytes: Uint8Array): string | undefined {
  for (let at = 0; at + 13 <= bytes.length;) {
    const view = new DataView(bytes.buffer, bytes.byteOffset + at);
    const epoch = view.getUint16(3);
    if (epoch !== 0) return `a protected record of type ${view.getUint8(0)}`;
    at += 13 + view.getUint16(11);
  }
  return undefined;
}

function speaksCoap(bytes: Uint8Array): string | undefined {
  const { code, options } = decodeMessage(new Uint8Array(bytes), 8);
  if (findOption(options, OptionNumber.Oscore) !== undefined) return "a message of OSCORE";
  const kind = code >> 5;
  if (code === 0 || kind === 4 || kind === 5) return undefined;
  return kind === 0 ? "a request" : formatCode(code);
}
