import assert from "node:assert/strict";
import { test } from "node:test";
import { CrashRounds } from "./rounds.test-kit.ts";

test(
  "F17: after kill -9 of the server under load, registrations, Updates and orders are there, and nothing is done twice",
  { timeout: 60_000 },
  async (t) => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    t.diagnostic(`seed ${seed}`);
    const rounds = await CrashRounds.open({
      devices: 30,
      seed,
      load: 600,
      settle: 500,
      updateRate: 60,
      users: 2,
    });
    try {
      await rounds.enrol();
      const { faults, orders, updates } = await rounds.round();
      assert.deepEqual(faults, [], `seed ${seed}`);
      assert.ok(orders > 0 && updates > 0, `seed ${seed}: ${orders} orders, ${updates} Updates`);
      assert.deepEqual(await rounds.finish(30_000), [], `seed ${seed}`);
    } finally {
      const { code, took } = await rounds.close();
      assert.equal(code, 0);
      assert.ok(took < 3_000, `${took} ms`);
    }
  },
);
