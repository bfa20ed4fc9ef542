import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import * as client from "@godwit/client";
import * as server from "@godwit/server";

const ROOT = join(import.meta.dirname, "../../../..");

/** Each class that an SDK exports, with its codes. */
const CODES: Readonly<Record<string, readonly string[]>> = {
  UsageError: server.USAGE_ERROR_CODES,
  SocketError: server.SOCKET_ERROR_CODES,
  StoreError: server.STORE_ERROR_CODES,
  SelfTestError: [new server.SelfTestError().code],
  TimeoutError: [new server.TimeoutError().code],
  MasterKeyError: [new server.MasterKeyError().code],
  DeviceError: server.DEVICE_ERROR_CODES,
  ServerError: server.SERVER_ERROR_CODES,
  StartError: client.START_ERROR_CODES,
};

test("docs/errors.md has each code of each class of error, once, and no other", () => {
  const page = readFileSync(join(ROOT, "docs/errors.md"), "utf8");
  const rows = [...page.matchAll(/^\| `(\w+)` \| `(\w+)` \| \S/gm)].map(
    ([, name, code]) => `${name} ${code}`,
  );
  const known = Object.entries(CODES).flatMap(([name, codes]) =>
    codes.map((code) => `${name} ${code}`),
  );
  assert.deepEqual(rows.toSorted(), known.toSorted());
});

test("every class of error that an SDK has is exported by it", () => {
  const exported: Readonly<Record<string, Readonly<Record<string, unknown>>>> = { client, server };
  const classes = Object.values(exported).flatMap((one) =>
    Object.entries(one).filter(
      ([, value]) => typeof value === "function" && value.prototype instanceof Error,
    ),
  );
  assert.deepEqual(new Set(classes.map(([name]) => name)), new Set(Object.keys(CODES)));
  for (const shared of [
    "UsageError",
    "SelfTestError",
    "SocketError",
    "StoreError",
    "TimeoutError",
  ] as const) {
    assert.equal(exported["client"]?.[shared], exported["server"]?.[shared]); // `instanceof` holds whichever SDK it was imported from
  }
});

test("the sources of both SDKs throw no error without a code", () => {
  for (const sdk of ["client", "server"]) {
    const src = join(ROOT, `packages/${sdk}/src`);
    const files = readdirSync(src).filter(
      (name) => name.endsWith(".ts") && !name.endsWith(".test.ts"),
    );
    assert.ok(files.length > 10);
    for (const name of files) {
      const text = readFileSync(join(src, name), "utf8");
      for (const plain of [
        /throw new (?:Type|Range)?Error\(/,
        /reject\(new Error\(/,
        /throw new FormatError\(/,
      ]) {
        assert.doesNotMatch(text, plain, `${sdk}/${name}`);
      }
    }
  }
});
