import assert from "node:assert/strict";
import { test } from "node:test";
import { TimeoutError, Waiting, within } from "./waiting.ts";

test("what a function returns, at once or later, comes out; what never comes is a TimeoutError", async () => {
  assert.equal(await within(10, "it", () => 1), 1);
  assert.equal(await within(10_000, "it", () => Promise.resolve(2)), 2);
  await assert.rejects(
    within(10, "the sensor of /3303/0/5700", () => new Promise<number>(() => undefined)),
    (fault) =>
      fault instanceof TimeoutError &&
      fault.code === "TIMEOUT" &&
      fault.message === "the sensor of /3303/0/5700 did not end within 0.01 s",
  );
  await assert.rejects(
    within(10, "it", () => {
      throw new Error("at once");
    }),
    /at once/,
  );
});

test("a promise ends once, by its value, its signal or its owner's end, and takes back what it began", async () => {
  const waiting = new Waiting();
  const taken: string[] = [];
  const never = (name: string) => () => () => void taken.push(name);
  const abort = new AbortController();
  const value = waiting.wait<number>(undefined, (resolve) => {
    setImmediate(() => resolve(3));
    return () => void taken.push("value");
  });
  const aborted = waiting.wait(abort.signal, never("aborted"));
  const ended = waiting.wait(undefined, never("ended"));
  assert.equal(await value, 3);
  abort.abort(new Error("no longer wanted"));
  await assert.rejects(aborted, /no longer wanted/);
  waiting.endAll(new Error("closed"));
  await assert.rejects(ended, /closed/);
  assert.deepEqual(taken, ["value", "aborted", "ended"]);
  await assert.rejects(waiting.wait(abort.signal, never("late")), /no longer wanted/);
  assert.equal(taken.includes("late"), false); // not begun at all
});

test("what was begun is taken back also where it ended while it began", async () => {
  const waiting = new Waiting();
  const taken: string[] = [];
  const at = waiting.wait<string>(undefined, (resolve) => {
    resolve("at once");
    return () => void taken.push("back");
  });
  assert.equal(await at, "at once");
  assert.deepEqual(taken, ["back"]);
  await assert.rejects(
    waiting.wait(undefined, () => {
      throw new Error("not begun");
    }),
    /not begun/,
  );
});
