import { ACK, CON, NON, codeName, decodeMessage, formatCode, isRequest } from "@godwit/coap";

/** "CON POST", "ACK 2.04 Changed", "ACK" for an empty one. Throws FormatError for what is no CoAP message. */
export function coapName(datagram: Uint8Array): string {
  const { type, code } = decodeMessage(datagram, LONGEST_TOKEN);
  const kind = type === CON ? "CON" : type === NON ? "NON" : type === ACK ? "ACK" : "RST";
  if (code === 0) return kind;
  const registered = codeName(code);
  if (registered === undefined) return `${kind} ${formatCode(code)}`;
  if (isRequest(code)) return `${kind} ${registered}`;
  return `${kind} ${formatCode(code)} ${registered.replaceAll(/(?<=[a-z])(?=[A-Z])/g, " ")}`;
}

const LONGEST_TOKEN = 65_804;
