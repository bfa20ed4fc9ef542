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
      let [orders, updates] = [0, 0];
      // On a busy machine a round may end before anything was promised.
      for (let round = 0; round < 5 && (orders === 0 || updates === 0); round++) {
        const report = await rounds.round();
        assert.deepEqual(report.faults, [], `seed ${seed}`);
        orders += report.orders;
        updates += report.updates;
      }
      assert.ok(orders > 0 && updates > 0, `seed ${seed}: ${orders} orders, ${updates} Updates`);
      assert.deepEqual(await rounds.finish(30_000), [], `seed ${seed}`);
    } finally {
      const { code, took } = await rounds.close();
      assert.equal(code, 0);
      assert.ok(took < 3_000, `${took} ms`);
    }
  },
);
