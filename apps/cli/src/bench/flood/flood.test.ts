import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Report } from "../report.ts";
import { SORTS } from "./sorts.ts";

const godwit = fileURLToPath(new URL("../../../bin/godwit.mjs", import.meta.url));
const run = promisify(execFile);

test(
  "godwit bench flood --short --json: every sort at godwit serve, its devices served beside, and at the machines alone",
  { skip: process.platform !== "linux" },
  async () => {
    const { stdout } = await run(process.execPath, [godwit, "bench", "flood", "--short", "--json"]);
    const { reports } = JSON.parse(stdout) as { readonly reports: readonly Report[] };
    const [report, ...others] = reports;
    assert.ok(report !== undefined);
    assert.equal(others.length, 0);
    const { benchmark, floods = [], inProcess = [], figures, targets } = report;
    assert.equal(benchmark, "flood");
    const names = SORTS.map(({ name }) => name).toSorted();
    assert.deepEqual(floods.map(({ sort }) => sort).toSorted(), names);
    assert.deepEqual(inProcess.map(({ sort }) => sort).toSorted(), names);
    for (const { sort, perSecond, generatorCpu, updatesAnswered } of floods) {
      assert.ok(perSecond > 0 && generatorCpu > 0, sort);
      assert.equal(updatesAnswered, 1, sort);
    }
    for (const { sort, nanoseconds, ratio } of inProcess)
      assert.ok(nanoseconds > 0 && ratio > 0, sort);
    const figure = new Map(figures.map(({ name, value }) => [name, value]));
    assert.equal(figure.get("devices at work"), 20);
    assert.ok((figure.get("a newcomer registered after") ?? Infinity) < 10_000);
    assert.equal(targets.length, 4);
  },
);
