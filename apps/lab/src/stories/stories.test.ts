import assert from "node:assert/strict";
import { test } from "node:test";
import { hex } from "@godwit/base";
import { CON, Code, encodeMessage } from "@godwit/coap";
import { World } from "@godwit/netsim";
import { COMMANDS } from "./commands/index.ts";
import { Disk } from "./disk.ts";
import { Model } from "./model.ts";
import { NonceAudit } from "./nonce-audit.ts";
import { PutBackRule } from "./put-back-rule.ts";
import { Step } from "./run-step.ts";
import { Story } from "./story.ts";
import { STRATEGIES, type Strategy } from "./strategies.ts";
import { COAPS_PORT } from "./server.ts";
import { speaks } from "./wire.ts";

const START = Date.UTC(2026, 10, 30);

/** Plays these commands one after the other, a minute each. */
function played(cast: readonly Strategy[], names: readonly string[]): Story {
  const audit = new NonceAudit();
  let story: Story | undefined;
  audit.during(() => {
    const model = new Model(cast, START, names.length);
    story = new Story(model, { seed: 1, start: START }, audit);
    for (const name of names) {
      const command = COMMANDS.find((one) => one.name === name);
      assert.ok(command, name);
      const step = new Step(command, { device: 0, a: 0, b: 0, wait: 4 });
      assert.ok(step.check(model), `${name} can be done`);
      step.run(model, story);
    }
  });
  assert.ok(story);
  return story;
}

for (const strategy of STRATEGIES)
  test(`a story of one device keeps every rule through the life of an ordinary week [${strategy}]`, () => {
    const week = [
      "observe",
      "operation",
      "server stopped",
      "NAT moved",
      "device rebooted",
      "server killed",
    ];
    const story = played([strategy], [...week, "all is well again"]);
    assert.equal(story.violation, undefined);
    assert.deepEqual(
      story.operations.all.map(({ ends }) => ends),
      [["done"], ["done"], ["done"]],
    );
  });

test("a put-back rule takes a nonce that serves twice from nobody but a device that was put back", () => {
  const once = { key: "k", nonce: "n", reused: false };
  const twice = { ...once, reused: true };
  const honest = new PutBackRule();
  assert.equal(honest.sealed(once), undefined);
  assert.match(honest.sealed(twice) ?? "", /serves two messages/);
  const rule = new PutBackRule();
  const [first, second] = [hex("01"), hex("02")];
  rule.sealed(once);
  rule.sent(first);
  assert.equal(rule.received(first), false);
  rule.putBack();
  rule.begins();
  assert.equal(rule.sealed(twice), undefined);
  rule.sent(second);
  assert.equal(rule.received(second), true, "the server must not believe it");
  rule.exchanged();
  assert.match(rule.sealed({ ...once, nonce: "m" }) ?? "", /goes on under keys/);
});

test("a put-back rule asks nothing of a server that has not received the first message, or was killed since", () => {
  for (const forgets of [false, true]) {
    const rule = new PutBackRule();
    rule.sealed({ key: "k", nonce: "n", reused: false });
    rule.sent(hex("01"));
    if (forgets) {
      rule.received(hex("01"));
      rule.serverForgets();
    }
    rule.putBack();
    rule.begins();
    rule.sealed({ key: "k", nonce: "n", reused: true });
    rule.sent(hex("02"));
    assert.equal(rule.received(hex("02")), false);
  }
});

test("a put-back rule: what is under a used nonce and never arrives cannot be noticed, the retransmission that arrives can", () => {
  const rule = new PutBackRule();
  rule.sealed({ key: "k", nonce: "n", reused: false });
  rule.sent(hex("01"));
  rule.received(hex("01"));
  rule.putBack();
  rule.begins();
  rule.sealed({ key: "k", nonce: "n", reused: true });
  rule.sent(hex("02"));
  rule.exchanged();
  assert.equal(rule.sealed({ key: "k", nonce: "m", reused: false }), undefined);
  assert.equal(rule.received(hex("02"), false), true);
  rule.exchanged();
  assert.equal(rule.sealed({ key: "k", nonce: "l", reused: false }), undefined, "not heard of");
  assert.equal(rule.received(hex("02")), true);
  rule.exchanged();
  assert.match(rule.sealed({ key: "k", nonce: "o", reused: false }) ?? "", /goes on under keys/);
});

test("what a server says to a device that is shut out: refusals are none, everything else is something", () => {
  const coap = (code: number): Uint8Array =>
    encodeMessage({ type: CON, mid: 1, token: hex(""), code, options: [], payload: hex("") });
  assert.equal(speaks(coap(Code.Unauthorized), 5_683), undefined);
  assert.equal(speaks(coap(0), 5_683), undefined, "an empty message");
  assert.match(speaks(coap(Code.Content), 5_683) ?? "", /2\.05/);
  assert.match(speaks(coap(Code.GET), 5_683) ?? "", /request/);
  const record = (epoch: string): Uint8Array => hex(`15fefd${epoch}0000000000010002022f`);
  assert.equal(speaks(record("0000"), COAPS_PORT), undefined, "an alert in clear");
  assert.match(speaks(record("0001"), COAPS_PORT) ?? "", /protected record/);
});

test("a disk: a crash leaves the first writes under way, a full one takes none, a copy is put back as it was", () => {
  const world = new World({ seed: 1 });
  const disk = new Disk(world);
  const answers: boolean[] = [];
  const write = (key: string): void =>
    disk.write([{ table: "t", key, value: hex("01") }], (ok) => answers.push(ok));
  write("a");
  world.run(10);
  const copy = disk.copy();
  write("b");
  write("c");
  disk.crash(1);
  world.run(10);
  assert.deepEqual([...disk.rows("t").keys()], ["a", "b"]);
  disk.full = true;
  write("d");
  world.run(10);
  assert.deepEqual(answers, [true, false], "nobody is told of what a crash left");
  disk.putBack(copy);
  assert.deepEqual([...disk.rows("t").keys()], ["a"]);
});
