import assert from "node:assert/strict";
import { test } from "node:test";
import { AttachedPeriods } from "./attached-periods.ts";
import { observeRequest, writeAttributesRequest } from "./requests.ts";

function attach(attached: AttachedPeriods, path: readonly number[], ...attributes: string[]): void {
  attached.attach("dev", `/${path.join("/")}`, writeAttributesRequest(path, attributes));
}

test("OMA Core 7.3: pmin and pmax are remembered by level, changed and taken away; those of the Observe replace their own level", () => {
  const attached = new AttachedPeriods(8);
  attach(attached, [3303], "pmin=10", "pmax=600");
  attach(attached, [3303, 0], "pmax=60", "gt=5");
  attach(attached, [3303, 0], "pmin=1");
  attach(attached, [3303], "pmin");
  const levels = (query: readonly string[] = []): unknown =>
    attached.levels("dev", "/3303/0/5700", observeRequest([3303, 0, 5700], query));
  assert.deepEqual(levels(), [{}, { pmax: 600 }, { pmin: 1, pmax: 60 }, {}]);
  assert.deepEqual(levels(["pmax=5"]), [{}, { pmax: 600 }, { pmin: 1, pmax: 60 }, { pmax: 5 }]);
  assert.deepEqual(levels(["nonsense=5"]), levels(), "attributes that nobody knows say nothing");
});

test("a limit: of one endpoint the newest paths are remembered, and no more", () => {
  const attached = new AttachedPeriods(2);
  for (const object of [3, 4, 5]) attach(attached, [object], "pmax=60");
  const known = [3, 4, 5].map(
    (object) => attached.levels("dev", `/${object}/0`, observeRequest([object, 0]))[1],
  );
  assert.deepEqual(known, [{}, { pmax: 60 }, { pmax: 60 }]);
});
