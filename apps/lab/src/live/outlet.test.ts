import assert from "node:assert/strict";
import { test } from "node:test";
import { World } from "@godwit/netsim";
import { Outlet } from "./outlet.ts";

test("what arrives leaves with its public address, and the answer passes the NAT back until it forgets", () => {
  const world = new World({ seed: 1 });
  const nat = world.nat("azure-5g");
  const left: { from: { host: string; port: number }; bytes: Uint8Array }[] = [];
  const outlet = world.host("server").attach(5_683, new Outlet(), {
    onOutput: ({ from, bytes }) => left.push({ from, bytes }),
  });
  const device = world.host("device", { behind: nat });
  const probe = device.attach(1_000, new Outlet());
  const arrived: string[] = [];
  device.link.down.watch(({ from, bytes }) => arrived.push(`${from.port} ${bytes.join()}`));

  probe.feed({ type: "answer", to: outlet.address, bytes: Uint8Array.of(1, 2) });
  world.run("1 s");
  const [first] = left;
  assert.deepEqual(first?.bytes, Uint8Array.of(1, 2));
  assert.equal(first.from.host, nat.address);

  outlet.feed({ type: "answer", to: first.from, bytes: Uint8Array.of(3) });
  world.run("31 s");
  assert.deepEqual(arrived, ["5683 3"]);
  outlet.feed({ type: "answer", to: first.from, bytes: Uint8Array.of(4) });
  world.run("1 s");
  assert.deepEqual(arrived, ["5683 3"]);
  assert.equal(nat.counts.noMapping, 1);
});
