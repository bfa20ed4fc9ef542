/**
 * The network that an address belongs to, for shares that one peer shall not widen by taking another address: the first 24
 * bits of an IPv4 address, also where it is written as IPv6, and the first 64 of any other IPv6 address, of which a single
 * subscriber has all that follow. Anything that is no address is a network of its own.
 */
export function addressPrefix(host: string): string {
  const own = subscriberPrefix(host);
  const end = own.includes(":") ? -1 : own.lastIndexOf(".");
  return end < 0 ? own : `${own.slice(0, end)}.0/24`;
}

/** What a single subscriber has: an IPv4 address, also where it is written as IPv6, or the first 64 bits of any other IPv6 address. */
export function subscriberPrefix(host: string): string {
  if (!host.includes(":")) return host;
  const text = MAPPED.exec(host)?.[1] ?? host;
  if (!text.includes(":")) return text;
  const zone = text.indexOf("%");
  const [head = "", tail] = (zone < 0 ? text : text.slice(0, zone)).split("::");
  const groups = groupsOf(head);
  if (tail !== undefined) {
    // What "::" stands for reaches to where the rest begins, counted from the end.
    const after = groupsOf(tail);
    const width = after.length + (tail.includes(".") ? 1 : 0); // a.b.c.d takes the place of two
    while (groups.length + width < GROUPS) groups.push("0");
    groups.push(...after);
  }
  const network = groups.slice(0, GROUPS / 2).map((group) => group.replace(/^0+(?=.)/, ""));
  return `${network.join(":").toLowerCase()}::/64`;
}

function groupsOf(text: string): string[] {
  return text === "" ? [] : text.split(":");
}

const MAPPED = /^(?:::|(?:0{1,4}:){5})ffff:(\d+\.\d+\.\d+\.\d+)$/i;
const GROUPS = 8;
