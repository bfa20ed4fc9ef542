import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { openSqlite } from "./sqlite.ts";

test("SQLite is the runtime's own where it has one, else the prebuilt package", () => {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const builtIn = process.getBuiltinModule?.("node:sqlite");
  if (major >= 24 || (major === 22 && minor >= 13)) assert.ok(builtIn, "this Node.js has it");
  const module = (builtIn ?? createRequire(import.meta.url)("@photostructure/sqlite")) as {
    readonly DatabaseSync: new (file: string) => object;
  };
  const database = openSqlite(":memory:");
  assert.ok(database instanceof module.DatabaseSync);
  database.close();
});
