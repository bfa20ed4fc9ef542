// pcap-ng (draft-ietf-opsawg-pcapng), big-endian: a Section Header Block, one Interface Description Block per point
// before its first packet, one Enhanced Packet Block per packet. Packets are raw IP (LINKTYPE_RAW), with checksums.

import { utf8, Writer, type Instant, type SocketAddress } from "@godwit/base";
import { ipBytes } from "./ip.ts";
import type { Sighting } from "./link.ts";
import type { IcmpError } from "./packet.ts";
import { TUNING } from "./tuning.ts";

/** A capture of one or several points of a world, for Wireshark. The time of the file is the world's, from 1970. */
export class PcapWriter {
  /** Packets that came after the capture was full. */
  missed = 0;
  readonly #limit: number;
  readonly #writer = new Writer(4_096);
  readonly #interfaces = new Map<string, number>();

  /** `limit`: bytes it grows to. */
  constructor(limit: number = TUNING.maxCaptureBytes) {
    this.#limit = limit;
    block(this.#writer, SECTION_HEADER, (w) => {
      w.u32(BYTE_ORDER_MAGIC).u16(1).u16(0).u32(0xffff_ffff).u32(0xffff_ffff); // length not given
    });
  }

  /** Adds a packet. Each new `point` becomes an interface of that name. */
  add(sighting: Omit<Sighting, "icmp"> & { readonly icmp?: IcmpError | undefined }): void {
    if (this.#writer.length + sighting.bytes.length + OVERHEAD > this.#limit) {
      this.missed++;
      return;
    }
    const packet = ipPacket(sighting.from, sighting.to, sighting.bytes, sighting.icmp);
    const number = this.#interface(sighting.point);
    const { high, low } = nanoseconds(sighting.at);
    block(this.#writer, ENHANCED_PACKET, (w) => {
      w.u32(number).u32(high).u32(low).u32(packet.length).u32(packet.length);
      padded(w, packet);
      option(w, EPB_FLAGS, Uint8Array.of(0, 0, 0, sighting.direction === "down" ? 1 : 2));
      w.u32(0);
    });
  }

  /** The whole file so far. */
  toPcapng(): Uint8Array {
    return new Uint8Array(this.#writer.bytes());
  }

  #interface(name: string): number {
    const known = this.#interfaces.get(name);
    if (known !== undefined) return known;
    const number = this.#interfaces.size;
    this.#interfaces.set(name, number);
    block(this.#writer, INTERFACE_DESCRIPTION, (w) => {
      w.u16(LINKTYPE_RAW).u16(0).u32(0); // any packet length
      option(w, IF_NAME, utf8(name));
      option(w, IF_TSRESOL, Uint8Array.of(9)); // 10^-9 s
      w.u32(0);
    });
    return number;
  }
}

/** A UDP datagram, or the ICMP error about one, as it would be on the wire. */
export function ipPacket(
  from: SocketAddress,
  to: SocketAddress,
  payload: Uint8Array,
  icmp?: IcmpError,
): Uint8Array {
  const source = ipBytes(from.host);
  const destination = ipBytes(to.host);
  const v6 = source.length === 16;
  if (icmp === undefined)
    return ip(v6 ? IP6 : IP4, UDP, source, destination, udp(from, to, payload));
  // The quoted packet went the other way. Its payload is not kept: the UDP header is all RFC 792 asks for.
  const quoted = ip(v6 ? IP6 : IP4, UDP, destination, source, udp(to, from, new Uint8Array(0)));
  const mtu = icmp.mtu ?? 0;
  const message = new Writer();
  if (v6) {
    const [type, code] = icmp.kind === "port-unreachable" ? [1, 4] : [2, 0];
    message.u8(type).u8(code).u16(0).u32(mtu).append(quoted);
    const sum = checksum(pseudoHeader(source, destination, ICMP6, message.length), message.bytes());
    return ip(IP6, ICMP6, source, destination, patched(message.bytes(), 2, sum));
  }
  message
    .u8(3)
    .u8(icmp.kind === "port-unreachable" ? 3 : 4)
    .u16(0)
    .u16(0)
    .u16(mtu)
    .append(quoted);
  return ip(
    IP4,
    ICMP4,
    source,
    destination,
    patched(message.bytes(), 2, checksum(message.bytes())),
  );
}

function udp(from: SocketAddress, to: SocketAddress, payload: Uint8Array): Uint8Array {
  const length = 8 + payload.length;
  const datagram = new Writer(length);
  datagram.u16(from.port).u16(to.port).u16(length).u16(0).append(payload);
  const pseudo = pseudoHeader(ipBytes(from.host), ipBytes(to.host), UDP, length);
  const sum = checksum(pseudo, datagram.bytes());
  return patched(datagram.bytes(), 6, sum === 0 ? 0xffff : sum); // RFC 768: 0 would say that there is none
}

function ip(
  version: typeof IP4 | typeof IP6,
  protocol: number,
  source: Uint8Array,
  destination: Uint8Array,
  payload: Uint8Array,
): Uint8Array {
  const w = new Writer(40 + payload.length);
  if (version === IP6) {
    w.u32(0x6000_0000).u16(payload.length).u8(protocol).u8(TTL);
    return w.append(source).append(destination).append(payload).bytes();
  }
  w.u8(0x45)
    .u8(0)
    .u16(20 + payload.length)
    .u16(0)
    .u16(DONT_FRAGMENT);
  w.u8(TTL).u8(protocol).u16(0).append(source).append(destination);
  const header = patched(w.bytes(), 10, checksum(w.bytes()));
  return new Writer(20 + payload.length).append(header).append(payload).bytes();
}

/** RFC 768 and RFC 8200 8.1; the two differ in widths that add up to the same sum. */
function pseudoHeader(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
): Uint8Array {
  return new Writer(40).append(source).append(destination).u32(length).u32(protocol).bytes();
}

/** The Internet checksum (RFC 1071) over parts of which all but the last have even length. */
function checksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts)
    for (let i = 0; i < part.length; i++) sum += i % 2 === 0 ? part[i]! << 8 : part[i]!; // below length
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function patched(bytes: Uint8Array, at: number, value: number): Uint8Array {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
  return bytes;
}

/** The world's clock counts ms with fractions; 64 bits in two halves. */
function nanoseconds(at: Instant): { readonly high: number; readonly low: number } {
  const ns = BigInt(Math.floor(at)) * 1_000_000n + BigInt(Math.round((at % 1) * 1_000_000));
  return { high: Number(ns >> 32n), low: Number(ns & 0xffff_ffffn) };
}

function block(w: Writer, type: number, body: (w: Writer) => void): void {
  const inner = new Writer();
  body(inner);
  const length = inner.length + 12;
  w.u32(type).u32(length).append(inner.bytes()).u32(length);
}

function option(w: Writer, code: number, value: Uint8Array): void {
  w.u16(code).u16(value.length);
  padded(w, value);
}

function padded(w: Writer, bytes: Uint8Array): void {
  w.append(bytes);
  while (w.length % 4 !== 0) w.u8(0);
}

const SECTION_HEADER = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b_3c4d;
const LINKTYPE_RAW = 101;
const IF_NAME = 2;
const IF_TSRESOL = 9;
const EPB_FLAGS = 2;
const IP4 = 4;
const IP6 = 6;
const UDP = 17;
const ICMP4 = 1;
const ICMP6 = 58;
const TTL = 64;
const DONT_FRAGMENT = 0x4000;
/** More than the blocks and headers around one payload, and the interface block that may precede it. */
const OVERHEAD = 512;
