import assert from "node:assert/strict";
import { test } from "node:test";
import { onFreePort } from "./free-port.ts";

/** Opens a port as a socket would, where those up to `taken` are another program's. */
function opener(taken: number): {
  readonly tried: number[];
  readonly open: (port: number) => Promise<number>;
} {
  const tried: number[] = [];
  return {
    tried,
    open: async (port) => {
      tried.push(port);
      if (port > taken) return await Promise.resolve(port);
      const cause = Object.assign(new Error("listen"), { code: "EADDRINUSE" });
      throw new Error("cannot bind", { cause });
    },
  };
}

test("a port that is free is taken, else the next that is", async () => {
  assert.equal(await onFreePort(8_080, opener(0).open), 8_080);
  assert.equal(await onFreePort(8_080, opener(8_082).open), 8_083);
});

test("20 ports further it gives up, and at the last port there is", async () => {
  const many = opener(10_000);
  await assert.rejects(onFreePort(8_080, many.open), /cannot bind/);
  assert.deepEqual([many.tried.length, many.tried.at(-1)], [21, 8_100]);
  const last = opener(65_535);
  await assert.rejects(onFreePort(65_534, last.open), /cannot bind/);
  assert.deepEqual(last.tried, [65_534, 65_535]);
});

test("another fault is no reason to try another port", async () => {
  let tried = 0;
  const open = async (): Promise<never> => {
    tried += 1;
    return await Promise.reject(Object.assign(new Error("no"), { code: "EACCES" }));
  };
  await assert.rejects(onFreePort(80, open), /no/);
  assert.equal(tried, 1);
});
