import { Reader, Writer } from "@godwit/base";

/** lifetime_hint(4, seconds) ticket<0..2^16-1>                                           RFC 5077 3.3 */
export type NewSessionTicket = { readonly lifetime: number; readonly ticket: Uint8Array };

export function decodeNewSessionTicket(body: Uint8Array): NewSessionTicket {
  const reader = new Reader(body);
  const lifetime = reader.u32();
  const ticket = reader.take(reader.u16());
  reader.end("ticket");
  return { lifetime, ticket };
}

export function encodeNewSessionTicket(message: NewSessionTicket): Uint8Array {
  return new Writer(message.ticket.length + 6)
    .u32(message.lifetime)
    .prefixed(2, (w) => w.append(message.ticket))
    .bytes();
}
