import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { hex, Reader, toHex, utf8 } from "@godwit/base";
import { Talker } from "./kit.test.ts";
import { ipPacket, PcapWriter } from "./pcap-writer.ts";
import { World } from "./world.ts";

const V4 = { host: "192.0.2.1", port: 5_683 };
const V4_PEER = { host: "198.51.100.2", port: 49_152 };
const V6 = { host: "2001:db8::1", port: 5_683 };
const V6_PEER = { host: "2001:db8:0:1::ff", port: 49_152 };

test("RFC 791 and RFC 768: an IPv4 datagram byte by byte", () => {
  const packet = ipPacket(V4, V4_PEER, hex("40 01 12 34"));
  assert.equal(
    toHex(packet),
    toHex(
      hex(`4500 0020 0000 4000 40 11 ${ipv4Sum(packet)} c0000201 c6336402
           1633 c000 000c ${toHex(packet.subarray(26, 28))} 40011234`),
    ),
  );
});

for (const [name, from, to, icmp] of [
  ["IPv4 UDP", V4, V4_PEER, undefined],
  ["IPv6 UDP", V6, V6_PEER, undefined],
  ["IPv4 port unreachable", V4, V4_PEER, { kind: "port-unreachable" }],
  ["IPv4 fragmentation needed", V4, V4_PEER, { kind: "fragmentation-needed", mtu: 576 }],
  ["IPv6 packet too big", V6, V6_PEER, { kind: "fragmentation-needed", mtu: 1_280 }],
] as const) {
  test(`RFC 1071: ${name}, summed with its checksums, gives zero for every payload length`, () => {
    for (let n = 0; n < 40; n++) {
      const payload = Uint8Array.from({ length: n }, (_, i) => (i * 37 + n) & 0xff);
      assert.deepEqual(badSums(ipPacket(from, to, payload, icmp)), []);
    }
  });
}

test("RFC 768: a checksum that comes out as zero is sent as 0xffff", () => {
  const seen = new Set<string>();
  for (let word = 0; word <= 0xffff; word++) {
    const packet = ipPacket(V4, V4_PEER, Uint8Array.of(word >> 8, word & 0xff));
    seen.add(toHex(packet.subarray(26, 28)));
  }
  assert.ok(seen.has("ffff"));
  assert.ok(!seen.has("0000"));
});

test("a capture is a section, its interfaces by name, and its packets with the world's time in ns", () => {
  const { capture } = conversation();
  const blocks = blocksOf(capture.toPcapng());
  assert.deepEqual(
    blocks.map(({ type }) => type),
    [0x0a0d_0d0a, 1, 6, 1, 6, 6, 6],
  );
  const names = blocks.filter(({ type }) => type === 1).map(({ body }) => interfaceName(body));
  assert.deepEqual(names, ["device", "server"]);
  const times = blocks
    .filter(({ type }) => type === 6)
    .map(({ body }) => {
      const r = new Reader(body);
      return [r.u32(), r.u32() * 2 ** 32 + r.u32()];
    });
  assert.deepEqual(times, [
    [0, 1_700_000_000_000_000_000],
    [1, 1_700_000_000_020_000_000],
    [1, 1_700_000_000_020_000_000],
    [0, 1_700_000_000_040_000_000],
  ]);
});

test("a full capture counts what it misses and stays a whole file", () => {
  const capture = new PcapWriter(2_000);
  for (let at = 0; at < 100; at++)
    capture.add({ at, point: "p", direction: "up", from: V4, to: V4_PEER, bytes: utf8("hello") });
  const file = capture.toPcapng();
  assert.ok(file.length <= 2_000);
  assert.equal(blocksOf(file).filter(({ type }) => type === 6).length + capture.missed, 100);
});

const tshark = spawnSync("tshark", ["--version"]).status === 0;

test(
  "tshark reads a capture: names, times, addresses, good checksums",
  {
    skip: tshark ? false : "tshark is not installed",
  },
  () => {
    const folder = mkdtempSync(join(tmpdir(), "godwit-pcap-"));
    try {
      const { capture } = conversation();
      capture.add({
        at: 1_700_000_000_050.5,
        point: "six",
        direction: "down",
        from: V6,
        to: V6_PEER,
        bytes: utf8("six"),
      });
      writeFileSync(join(folder, "x.pcapng"), capture.toPcapng());
      const fields = [
        "frame.interface_name",
        "frame.time_epoch",
        "ip.src",
        "ipv6.src",
        "udp.dstport",
      ];
      const printed = execFileSync(
        "tshark",
        [
          ...["-r", join(folder, "x.pcapng"), "-T", "fields", "-E", "separator=,"],
          ...["-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"],
          ...[...fields, "udp.checksum.status", "udp.length"].flatMap((field) => ["-e", field]),
        ],
        { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
      );
      assert.deepEqual(printed.trim().split("\n"), [
        "device,1700000000.000000000,10.0.0.2,,5684,1,13",
        "server,1700000000.020000000,203.0.113.1,,5684,1,13",
        "server,1700000000.020000000,198.51.100.1,,5683,1,8",
        "device,1700000000.040000000,198.51.100.1,,5683,1,8",
        "six,1700000000.050500000,,2001:db8::1,49152,1,11",
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

function conversation(): { capture: PcapWriter } {
  const world = new World({ seed: 3, start: 1_700_000_000_000 });
  const device = new Talker(world.host("device", { behind: world.nat("linux-home") }), 5_683);
  const server = new Talker(world.host("server"), 5_684, { answers: true });
  const capture = world.capture([device.host.link, server.host.link]);
  device.say(server.address, "hello");
  world.run("1 s");
  return { capture };
}

function blocksOf(file: Uint8Array): { type: number; body: Uint8Array }[] {
  const blocks: { type: number; body: Uint8Array }[] = [];
  const r = new Reader(file);
  while (r.left > 0) {
    const type = r.u32();
    const length = r.u32();
    assert.equal(length % 4, 0);
    blocks.push({ type, body: r.take(length - 12) });
    assert.equal(r.u32(), length);
  }
  return blocks;
}

function interfaceName(body: Uint8Array): string {
  const r = new Reader(body);
  assert.deepEqual([r.u16(), r.u16(), r.u32(), r.u16()], [101, 0, 0, 2]);
  return String.fromCharCode(...r.take(r.u16()));
}

function ipv4Sum(packet: Uint8Array): string {
  const header = new Uint8Array(packet.subarray(0, 20));
  header.fill(0, 10, 12);
  return (0xffff - onesSum(header)).toString(16).padStart(4, "0");
}

/** Names of the sums that do not come out as RFC 1071 says. */
function badSums(packet: Uint8Array): string[] {
  const v6 = packet[0] === 0x60;
  const payload = packet.subarray(v6 ? 40 : 20);
  const protocol = packet[v6 ? 6 : 9]!; // every header has one
  const addresses = v6 ? packet.subarray(8, 40) : packet.subarray(12, 20);
  const pseudo = new Uint8Array([...addresses, payload.length >> 8, payload.length, 0, protocol]);
  const covered = protocol === 1 ? payload : new Uint8Array([...pseudo, ...payload]);
  const bad: string[] = [];
  if (!v6 && onesSum(packet.subarray(0, 20)) !== 0xffff) bad.push("header");
  if (onesSum(covered) !== 0xffff) bad.push("payload");
  return bad;
}

function onesSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0); // below length
  while (sum > 0xffff) sum = (sum % 0x1_0000) + Math.floor(sum / 0x1_0000);
  return sum;
}
