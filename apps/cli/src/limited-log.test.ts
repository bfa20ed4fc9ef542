import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { LimitedLog } from "./limited-log.ts";

function written(): { lines: Record<string, unknown>[]; log: LimitedLog } {
  const lines: Record<string, unknown>[] = [];
  const destination = { write: (text: string) => void lines.push(JSON.parse(text)) };
  const limits = { perSource: 3, perReason: 10, window: 3_600_000 };
  return { lines, log: new LimitedLog(pino({ base: null }, destination), limits) };
}

const line = (source: string, reason = "forged") =>
  ({ level: "warn", reason, source, fields: { address: source }, message: "refused" }) as const;

test("lines of one reason and source are limited, and what was left out is counted", () => {
  const { lines, log } = written();
  for (let i = 0; i < 20_000; i++) log.write(line("192.0.2.1"));
  log.write(line("192.0.2.2"));
  log.write(line("192.0.2.1", "wrongKey"));
  assert.deepEqual(
    lines.map(({ address }) => address),
    ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1"],
  );
  log.flush();
  const { reason, source, suppressed, msg } = lines.at(-1) ?? {};
  assert.deepEqual(
    { reason, source, suppressed, msg },
    {
      reason: "forged",
      source: "192.0.2.1",
      suppressed: 19_997,
      msg: "refused: 19997 more suppressed",
    },
  );
  log.write(line("192.0.2.1")); // another minute
  assert.equal(lines.length, 7);
});

test("many sources write no more lines than a reason has, and leave nothing behind", () => {
  const { lines, log } = written();
  for (let i = 0; i < 20_000; i++) log.write(line(`10.0.${i >> 8}.${i & 255}`));
  assert.equal(lines.length, 10);
  log.flush();
  assert.equal(lines.length, 11);
  assert.deepEqual([lines[10]?.["reason"], lines[10]?.["suppressed"]], ["forged", 19_990]);
  log.flush();
  assert.equal(lines.length, 11);
});

test("what nobody looked at is counted with its reason, also where the line itself is written", () => {
  const { lines, log } = written();
  log.beforeFlush(() => log.leaveOut(line("192.0.2.9"), 10));
  log.write(line("192.0.2.1"));
  log.write(line("192.0.2.2"));
  log.flush();
  assert.deepEqual(
    lines.map(({ reason, address, suppressed }) => (reason ? [reason, suppressed] : address)),
    ["192.0.2.1", "192.0.2.2", ["forged", 10]],
  );
});
