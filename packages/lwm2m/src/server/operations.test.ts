import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, request } from "@godwit/coap";
import type { Operation, OperationState } from "./operation.ts";
import { Operations } from "./operations.ts";
import { serverTuning } from "./tuning.ts";

const tuning = {
  ...serverTuning,
  maxOperations: 4,
  maxOperationsPerEndpoint: 2,
  finishedPerEndpoint: 2,
  finishedFor: 1_000,
};

function operation(id: number, endpoint: string, over: Partial<Operation> = {}): Operation {
  return {
    id,
    endpoint,
    kind: "read",
    path: "/3/0/9",
    request: request(Code.GET, { path: "/3/0/9" }),
    createdAt: 0,
    expiresAt: 100 + id,
    attempts: 0,
    leastIdle: undefined,
    storedHeard: undefined,
    again: undefined,
    state: { name: "waiting" },
    ...over,
  };
}

const cancelled = (at: number): OperationState => ({ name: "cancelled", at });

test("operations are found by number and by endpoint, the oldest first, and not once they are removed", () => {
  const operations = new Operations(tuning);
  const all = [operation(1, "lamp"), operation(2, "door"), operation(3, "lamp")];
  for (const one of all) operations.add(one);
  assert.deepEqual([...operations.all()], all);
  assert.equal(operations.get(2), all[1]);
  assert.deepEqual(operations.of("lamp"), [all[0], all[2]]);
  assert.deepEqual(operations.of("none"), []);
  assert.equal(operations.waiting, 3);
  for (let times = 0; times < 2; times++) {
    operations.remove(all[0]!); // there are three
    assert.equal(operations.get(1), undefined);
    assert.deepEqual(operations.of("lamp"), [all[2]]);
    assert.equal(operations.waiting, 2);
    assert.equal(operations.nextDeadline, 102);
  }
});

test("tuning.maxOperationsPerEndpoint, maxOperations: one more is refused in words; finished and internal ones take no place of a device", () => {
  const operations = new Operations(tuning);
  operations.add(operation(1, "lamp"));
  operations.add(operation(2, "lamp", { internal: true }));
  operations.add(operation(3, "lamp", { state: cancelled(5) }));
  assert.equal(operations.fullFor("lamp"), undefined);
  operations.add(operation(4, "lamp", { state: { name: "sent", at: 0, idle: 0 } }));
  assert.equal(operations.fullFor("lamp"), "2 operations already wait for this device");
  assert.equal(operations.fullFor("door"), undefined);
  assert.equal(operations.waiting, 3);
  operations.add(operation(5, "door"));
  assert.equal(operations.fullFor("door"), "the server already holds 4 waiting operations");
});

test("a waiting operation is due when it expires, and not before what it is given", () => {
  const operations = new Operations(tuning);
  const [a, b] = [operation(1, "lamp"), operation(2, "lamp")];
  operations.add(a);
  operations.add(b, 500);
  assert.equal(operations.nextDeadline, 101);
  assert.equal(operations.due(100), undefined);
  assert.equal(operations.due(101), a);
  assert.equal(operations.due(499), undefined);
  assert.equal(operations.due(500), b);
});

test("tuning.finishedFor: one that ended is forgotten so long after its end, or after its making where that is not known", () => {
  const operations = new Operations(tuning);
  const [a, b] = [operation(1, "lamp"), operation(2, "door", { state: cancelled(70) })];
  operations.add(a);
  operations.add(b);
  a.state = cancelled(50);
  assert.deepEqual(operations.finished(a), []);
  assert.equal(operations.waiting, 0);
  assert.equal(operations.nextDeadline, 1_050);
  assert.equal(operations.due(1_049), undefined);
  assert.equal(operations.due(1_050), a);
  assert.equal(operations.due(1_069), undefined);
  assert.equal(operations.due(1_070), b);
  assert.equal(operations.nextDeadline, undefined);
});

test("tuning.finishedPerEndpoint: of those that ended the oldest is forgotten, of its own device and never a waiting one", () => {
  const operations = new Operations(tuning);
  const others = operation(9, "door", { state: cancelled(1) });
  operations.add(others);
  const all = [1, 2, 3, 4].map((id) => operation(id, "lamp"));
  for (const one of all) operations.add(one);
  const [first, second, third, fourth] = all as [Operation, Operation, Operation, Operation];
  for (const [one, gone] of [
    [second, []],
    [third, []],
    [fourth, [second]],
  ] as const) {
    one.state = cancelled(one.id);
    assert.deepEqual(operations.finished(one), gone);
  }
  assert.deepEqual(operations.of("lamp"), [first, third, fourth]);
  assert.equal(operations.get(2), undefined);
  assert.equal(operations.waiting, 1);
  assert.equal(operations.get(9), others);
});
