import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "./faults.ts";
import {
  checkName,
  checkOptions,
  either,
  finite,
  flag,
  list,
  oneOf,
  record,
  required,
  text,
  tuningLike,
  whole,
  withMethods,
  type Rules,
} from "./options.ts";

type Options = {
  readonly endpoint: string;
  readonly lifetime?: number;
  readonly level?: number;
  readonly mode?: "off" | number;
  readonly queue?: boolean;
  readonly key?: string;
  readonly hosts?: readonly string[];
  readonly inside?: { readonly depth?: number };
  readonly tuning?: { readonly pause?: number };
  readonly store?: { load(): void };
};

const RULES: Rules<Options> = {
  endpoint: required(text(1, 10)),
  lifetime: whole(0, 0xffff_ffff, "s"),
  level: finite(),
  mode: either(oneOf("off"), finite(15)),
  queue: flag,
  key: { ...text(1, 4), secret: true },
  hosts: list(text(1, 10)),
  inside: record<{ readonly depth?: number }>({ depth: whole(0, 3) }),
  tuning: tuningLike({ pause: 10, on: true }),
  store: withMethods("a store", "load"),
};

for (const given of [
  { endpoint: "a" },
  { endpoint: "äöü", lifetime: undefined, level: -1.5, mode: 20, queue: false },
  { endpoint: "a", mode: "off", hosts: [], inside: { depth: 3 }, tuning: { pause: 0, on: false } },
  {
    endpoint: "a",
    store: new (class {
      load(): void {}
    })(),
  },
]) {
  test(`options that can be are taken: ${JSON.stringify(given)}`, () => {
    assert.doesNotThrow(() => checkOptions("new Thing()", given, RULES));
  });
}

for (const { given, says } of [
  { given: undefined, says: /^new Thing\(\): options are one object, not undefined$/ },
  { given: [], says: /not an array/ },
  { given: {}, says: /endpoint is missing: text of 1 to 10 bytes/ },
  { given: { endpoint: "" }, says: /endpoint must be text of 1 to 10 bytes .*, not ""$/ },
  { given: { endpoint: "äöüäöü" }, says: /not "äöüäöü"/ },
  { given: { endpoint: "a\nb" }, says: /without control characters, not "a\\nb"/ },
  {
    given: { endpoint: "a", lifetime: "60" },
    says: /lifetime must be a whole number from 0 to 4294967295 \(s\), not "60"/,
  },
  { given: { endpoint: "a", lifetime: Number.NaN }, says: /not NaN/ },
  { given: { endpoint: "a", lifetime: 1.5 }, says: /not 1.5/ },
  { given: { endpoint: "a", lifetime: 2 ** 32 }, says: /not 4294967296/ },
  {
    given: { endpoint: "a", level: Infinity },
    says: /level must be a finite number, not Infinity/,
  },
  {
    given: { endpoint: "a", mode: 3 },
    says: /mode must be "off", or a finite number of at least 15/,
  },
  { given: { endpoint: "a", queue: 1 }, says: /queue must be true or false, not 1/ },
  { given: { endpoint: "a", queue: null }, says: /not null/ },
  {
    given: { endpoint: "a", liftime: 60 },
    says: /there is no option "liftime"; did you mean "lifetime"\?/,
  },
  {
    given: { endpoint: "a", nosuch: 1 },
    says: /no option "nosuch"; those there are: endpoint, lifetime/,
  },
  {
    given: { endpoint: "a", key: "secret" },
    says: /key must be text of 1 to 4 bytes without control characters$/,
  },
  { given: { endpoint: "a", hosts: [1] }, says: /hosts must be an array, each text/ },
  { given: { endpoint: "a", inside: { depth: 4 } }, says: /inside: depth must be .*, not 4/ },
  {
    given: { endpoint: "a", inside: { dept: 1 } },
    says: /inside: there is no option "dept"; did you mean "depth"/,
  },
  {
    given: { endpoint: "a", tuning: { pause: -1 } },
    says: /tuning: pause must be a finite number of at least 0, not -1/,
  },
  { given: { endpoint: "a", tuning: { paus: 1 } }, says: /did you mean "pause"/ },
  {
    given: { endpoint: "a", store: {} },
    says: /store must be a store: an object with load\(\), not an object/,
  },
]) {
  test(`an option that cannot be is named: ${JSON.stringify(given)}`, () => {
    assert.throws(
      () => checkOptions("new Thing()", given, RULES),
      (fault) =>
        fault instanceof UsageError && fault.code === "INVALID_OPTION" && says.test(fault.message),
    );
  });
}

test("a name that does not exist brings the nearest one that does, or all of them", () => {
  const names = ["registered", "updated"];
  checkName("on()", "event", "updated", names);
  assert.throws(
    () => checkName("on()", "event", "registred", names),
    /did you mean "registered"\?/,
  );
  assert.throws(
    () => checkName("on()", "event", "xyz", names),
    /those there are: registered, updated/,
  );
  assert.throws(() => checkName("on()", "event", undefined, names), /no event undefined/);
});
