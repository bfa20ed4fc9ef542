import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "@godwit/base";
import type { Balancer, BalancerOptions } from "./balancer.ts";
import { Talker } from "./kit.test.ts";
import { World } from "./world.ts";

test("a flow stays with its target while it talks, in either direction, and clients keep their address", () => {
  const { world, address, clients, targets } = scene(1, { choose: "round-robin" });
  const [client] = clients;
  const [a] = targets;
  for (let i = 0; i < 5; i++) {
    client?.say(address);
    world.run("70 s");
    a?.say(a.source);
    world.run("70 s");
  }
  assert.equal(a?.texts.length, 5);
  assert.equal(a?.source, `${client?.host.address}:9`);
  assert.deepEqual(new Set(client?.sources), new Set([`${address.host}:5684`]));
});

for (const choose of ["random", "round-robin", "hash"] as const) {
  test(`${choose}: many clients are spread over all targets`, () => {
    const { world, address, clients, targets } = scene(60, { choose });
    for (const client of clients) client.say(address);
    world.run("1 s");
    const shares = targets.map(({ texts }) => texts.length);
    assert.equal(shares[0]! + shares[1]! + shares[2]!, 60); // three targets
    assert.ok(
      shares.every((share) => share >= 10),
      shares.join(" "),
    );
  });
}

test("hash: a client comes to the same target again after its flow has expired", () => {
  const { world, front, address, clients } = scene(20, { choose: "hash" });
  const where = (): (string | undefined)[] => {
    for (const client of clients) client.say(address);
    world.run("1 s");
    return clients.map((client) => front.target(client.address, 5_684));
  };
  const first = where();
  world.run("200 s");
  assert.deepEqual(where(), first);
});

test("what a target sends without a live flow leaves with its own address", () => {
  const { world, clients, targets } = scene(1, {});
  targets[0]?.say(clients[0]!.address); // there is one
  world.run("1 s");
  assert.equal(clients[0]?.source, `${targets[0]?.host.address}:5684`);
});

test("rebalance moves every live flow to another target", () => {
  const { world, front, address, clients } = scene(20, {});
  for (const client of clients) client.say(address);
  world.run("1 s");
  const targets = (): (string | undefined)[] =>
    clients.map((client) => front.target(client.address, 5_684));
  const before = targets();
  front.rebalance();
  const after = targets();
  assert.ok(before.every((target, i) => target !== after[i]));
});

test("steer sends new flows to one target and leaves live ones", () => {
  const { world, front, address, clients, targets } = scene(4, { choose: "round-robin" });
  clients[0]?.say(address);
  world.run("1 s");
  front.steer(targets[2]?.host);
  for (const client of clients) client.say(address);
  world.run("1 s");
  assert.deepEqual(
    targets.map(({ texts }) => texts.length),
    [2, 0, 3],
  );
  assert.throws(() => front.steer(clients[0]?.host), UsageError);
});

test("without probing a dead target keeps its flows; with it they move within 15 s", () => {
  for (const probe of [null, 15_000]) {
    const { world, address, clients, targets } = scene(1, { choose: "round-robin", probe });
    clients[0]?.say(address);
    world.run("1 s");
    targets[0]?.host.off();
    clients[0]?.say(address, "too soon");
    world.run("15 s");
    clients[0]?.say(address, "later");
    world.run("1 s");
    const heard = targets.flatMap(({ texts }) => texts);
    assert.deepEqual(heard, probe === null ? ["x"] : ["x", "later"]);
    targets[0]?.host.on();
    world.run("15 s");
    for (let i = 0; i < 3; i++) new Talker(world.host(`new-${i}`), 9).say(address);
    world.run("1 s");
    assert.ok(
      targets.every(({ texts }) => texts.length > 0),
      "it takes part again",
    );
  }
});

test("a target that moves away takes its flows with it; without targets nothing arrives", () => {
  const { world, front, address, clients, targets } = scene(1, { choose: "round-robin" });
  clients[0]?.say(address);
  world.run("1 s");
  for (const target of targets) target.host.move({});
  assert.deepEqual(front.targets, []);
  clients[0]?.say(address);
  world.run("1 s");
  assert.equal(world.counts.dropped["no-target"], 1);
});

test("at its limit of flows the balancer forgets the oldest", () => {
  const { world, front, address, clients } = scene(4, { maxFlows: 3 });
  for (const client of clients) client.say(address);
  world.run("1 s");
  const known = clients.map((client) => front.target(client.address, 5_684) !== undefined);
  assert.deepEqual(known, [false, true, true, true]);
  front.clear();
  assert.equal(front.target(clients[3]!.address, 5_684), undefined); // there are four
});

test("a flow that begins anew is the youngest again", () => {
  const { world, front, address, clients } = scene(3, { maxFlows: 2 });
  const [a, b, c] = clients;
  a?.say(address);
  b?.say(address);
  world.run("200 s");
  b?.say(address);
  a?.say(address);
  c?.say(address);
  world.run("1 s");
  const known = clients.map((client) => front.target(client.address, 5_684) !== undefined);
  assert.deepEqual(known, [true, false, true]);
});

test("ICMP errors of clients reach the target they are about", () => {
  const { world, address, clients, targets } = scene(1, {});
  clients[0]?.say(address);
  world.run("1 s");
  clients[0]?.node.close();
  for (const target of targets) if (target.texts.length > 0) target.say(target.source);
  world.run("1 s");
  assert.equal(world.counts.icmp.delivered, 1);
});

type Scene = {
  world: World;
  front: Balancer;
  address: { host: string; port: number };
  clients: Talker[];
  targets: Talker[];
};

function scene(clients: number, options: BalancerOptions): Scene {
  const world = new World({ seed: 31, start: 0 });
  const front = world.balancer("aws-nlb", options);
  const behind = front;
  const targets = ["a", "b", "c"].map((name) => new Talker(world.host(name, { behind }), 5_684));
  return {
    world,
    front,
    address: { host: front.address, port: 5_684 },
    clients: Array.from({ length: clients }, (_, i) => new Talker(world.host(`client-${i}`), 9)),
    targets,
  };
}
