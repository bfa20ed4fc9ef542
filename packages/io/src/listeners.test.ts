import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { UsageError } from "@godwit/base";
import { Listeners } from "./listeners.ts";

type Happenings = { readonly opened: number; readonly closed: string };

function listeners(): { on: Listeners<Happenings>; faults: string[] } {
  const faults: string[] = [];
  const on = new Listeners<Happenings>({ opened: true, closed: true }, (fault, name) =>
    faults.push(`${name}: ${String(fault)}`),
  );
  return { on, faults };
}

test("each listener hears its events until it is taken away", () => {
  const { on } = listeners();
  const heard: number[] = [];
  const stop = on.on("opened", (n) => heard.push(n));
  assert.equal(on.has("opened"), true);
  on.emit("opened", 1);
  on.emit("closed", "x");
  stop();
  on.emit("opened", 2);
  assert.deepEqual(heard, [1]);
  assert.equal(on.has("opened"), false);
});

test("a listener that throws, at once or later, harms nobody else, and its error is reported with the event's name", async () => {
  const { on, faults } = listeners();
  const heard: number[] = [];
  on.on("opened", () => {
    throw new Error("at once");
  });
  on.on("opened", async () => {
    await turn();
    throw new Error("later");
  });
  on.on("opened", () => new Promise(() => undefined)); // never ends: nobody waits for it
  on.on("opened", (n) => heard.push(n));
  on.emit("opened", 7);
  assert.deepEqual(heard, [7]);
  await turn();
  await turn();
  assert.deepEqual(faults, ["opened: Error: at once", "opened: Error: later"]);
});

test("an event that does not exist, and a listener that is no function, are refused", () => {
  const { on } = listeners();
  assert.throws(() => on.on("opend" as "opened", () => undefined), /did you mean "opened"/);
  assert.throws(
    () => on.on("opened", undefined as never),
    (fault) => fault instanceof UsageError && fault.code === "INVALID_OPTION",
  );
});
