import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Report } from "../report.ts";

const godwit = fileURLToPath(new URL("../../../bin/godwit.mjs", import.meta.url));
const run = promisify(execFile);

test(
  "godwit bench dtls --short --json measures records beside an echo, handshakes of both kinds, and idle sessions",
  { skip: process.platform !== "linux" },
  async () => {
    const { stdout } = await run(process.execPath, [godwit, "bench", "dtls", "--short", "--json"]);
    const { reports } = JSON.parse(stdout) as { readonly reports: readonly Report[] };
    const [report, ...others] = reports;
    assert.ok(report !== undefined);
    assert.equal(others.length, 0);
    assert.equal(report.benchmark, "dtls");
    const ours = report.throughput.filter(({ server }) => server === "godwit");
    assert.deepEqual(
      ours.map(({ test: kind, clients }) => [kind, clients]),
      [
        ["cid pair", 2],
        ["echo", 2],
        ["cid pair", 20],
        ["echo", 20],
        ["handshake", 4],
        ["resumption", 4],
      ],
    );
    for (const { requests, refused, perCpuSecond, perSecond, p50, p99 } of ours) {
      assert.ok(requests > 0 && perSecond.median > 0 && perCpuSecond.median > 0);
      assert.equal(refused, 0);
      assert.ok(p50.median > 0 && p50.median <= p99.max);
    }
    const figure = (name: string): number =>
      report.figures.find((f) => f.name === name)?.value ?? -1;
    assert.ok(figure("echo, 20 clients over 2") > 0);
    assert.equal(figure("idle sessions"), 200);
    // Of so few sessions more is the room that tables have made ahead.
    assert.ok(figure("heap per idle session") < 10_000);
  },
);
