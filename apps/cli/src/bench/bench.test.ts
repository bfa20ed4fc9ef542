import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Report, Throughput } from "./report.ts";

const godwit = fileURLToPath(new URL("../../bin/godwit.mjs", import.meta.url));
const run = promisify(execFile);

const linux = process.platform === "linux";

test(
  "godwit bench coap --short --json measures both tests and everything kept",
  { skip: !linux },
  async () => {
    const { stdout } = await run(process.execPath, [godwit, "bench", "coap", "--short", "--json"]);
    const { reports } = JSON.parse(stdout) as { readonly reports: readonly Report[] };
    const [report, ...others] = reports;
    assert.ok(report !== undefined);
    assert.equal(others.length, 0);
    assert.equal(report.benchmark, "coap");
    for (const kind of ["get", "update"]) {
      const ours: readonly Throughput[] = report.throughput.filter(
        (t) => t.test === kind && t.server === "godwit",
      );
      assert.deepEqual(
        ours.map(({ clients }) => clients),
        [1, 20],
      );
      for (const { perCpuSecond, perSecond, p50, p99, requests, refused, rss } of ours) {
        assert.ok(requests > 0 && perSecond.median > 0 && rss > 1e6);
        assert.ok(
          perCpuSecond.min <= perCpuSecond.median && perCpuSecond.median <= perCpuSecond.max,
        );
        assert.ok(p50.median > 0 && p50.median <= p99.max);
        assert.equal(refused, 0);
      }
    }
    const figure = (name: string): number =>
      report.figures.find((f) => f.name === name)?.value ?? -1;
    assert.equal(figure("spoofed registrations sent"), 500);
    assert.equal(figure("registrations kept after them"), 501);
    assert.equal(figure("of them remembered"), figure("exchanges made"));
    const kept = report.targets.find(({ name }) => name === "bytes kept per deduplicated exchange");
    // Of so few exchanges the collector's mood is a part: the figure itself is the benchmark's to judge.
    assert.ok(
      kept !== undefined && kept.reached > 0 && kept.reached < 4_000,
      `${kept?.reached} bytes`,
    );
  },
);

test(
  "godwit bench oscore --short --json measures plain and protected Updates and what silent devices keep",
  { skip: !linux },
  async () => {
    const { stdout } = await run(process.execPath, [
      godwit,
      "bench",
      "oscore",
      "--short",
      "--json",
    ]);
    const { reports } = JSON.parse(stdout) as { readonly reports: readonly Report[] };
    const [report] = reports;
    assert.ok(report !== undefined);
    assert.equal(report.benchmark, "oscore");
    assert.deepEqual(
      report.throughput.map(({ test: name, clients }) => [name, clients]),
      [
        ["plain update", 1],
        ["oscore update", 1],
        ["plain update", 20],
        ["oscore update", 20],
      ],
    );
    for (const { perCpuSecond, requests, refused } of report.throughput) {
      assert.ok(requests > 0 && perCpuSecond.median > 0);
      assert.equal(refused, 0);
    }
    assert.deepEqual(
      report.targets.map(({ name }) => name),
      [
        "protected Updates over plain ones, 1 contexts",
        "protected Updates over plain ones, 20 contexts",
        "protected Updates, 20 contexts over 1",
      ],
    );
    const figures = new Map(report.figures.map(({ name, value }) => [name, value]));
    assert.equal(figures.get("silent devices, plain"), 200);
    assert.equal(figures.get("silent devices, OSCORE"), 200);
    const unused = figures.get("each keeps before it registers") ?? 0;
    assert.ok(unused > 100 && (figures.get("each keeps registered") ?? 0) > unused);
  },
);

test("a benchmark that is not there is refused with those that are", async () => {
  await assert.rejects(
    run(process.execPath, [godwit, "bench", "flying"]),
    /there are: coap, oscore/,
  );
});
