import assert from "node:assert/strict";
import { test } from "node:test";
import { guardedStore } from "./guarded-store.ts";
import { memoryStore } from "./memory-store.ts";
import { StoreError, type Store, type StoreDone } from "./store.ts";
import { TimeoutError } from "./waiting.ts";

/** A store as a program might write one: it answers by `write`. */
function own(write: (done: StoreDone) => void, end: () => Promise<void> = async () => {}): Store {
  return {
    broken: undefined,
    load: () => [],
    write: (_changes, done) => write(done),
    flush: end,
    close: end,
  };
}

function written(store: Store): Promise<StoreError | undefined> {
  return new Promise((resolve) => store.write([], resolve));
}

test("a store of ours is used as it is", () => {
  const store = memoryStore();
  assert.equal(guardedStore(store), store);
});

for (const { name, write, says } of [
  { name: "answers", write: (done: StoreDone) => done(), says: undefined },
  {
    name: "throws",
    write: () => {
      throw new TypeError("no disk");
    },
    says: /no disk/,
  },
  {
    name: "answers with what is no StoreError",
    write: (done: StoreDone) => done(new Error("odd") as never),
    says: /odd/,
  },
  { name: "never answers", write: () => undefined, says: /has not answered for 0.02 s/ },
]) {
  test(`a write of a store that ${name} is answered once`, async () => {
    let answers = 0;
    const store = guardedStore(own(write), 20);
    const error = await new Promise<StoreError | undefined>((resolve) => {
      store.write([], (fault) => {
        answers += 1;
        resolve(fault);
      });
    });
    if (says === undefined) assert.equal(error, undefined);
    else {
      assert.ok(error instanceof StoreError);
      assert.match(error.message, says);
    }
    await new Promise((resolve) => setTimeout(resolve, 40));
    assert.equal(answers, 1);
  });
}

test("an answer that comes twice, or after the store was given up, is not passed on", async () => {
  let kept: StoreDone = () => undefined;
  const late = guardedStore(
    own((done) => (kept = done)),
    10,
  );
  assert.ok((await written(late)) instanceof StoreError);
  kept();
  let answers = 0;
  const twice = guardedStore(
    own((done) => (done(), done())),
    10,
  );
  twice.write([], () => void (answers += 1));
  assert.equal(answers, 1);
});

test("flush and close of a store that never end are given up", async () => {
  const store = guardedStore(
    own(
      () => undefined,
      () => new Promise(() => undefined),
    ),
    10,
  );
  await assert.rejects(store.flush(), TimeoutError);
  await assert.rejects(store.close(), TimeoutError);
});

test("a store whose records cannot be read to their end is a StoreError", () => {
  function* load(): Iterable<{ key: string; value: Uint8Array }> {
    yield { key: "a", value: new Uint8Array() };
    throw new TypeError("no disk");
  }
  const store = guardedStore({ ...own(() => undefined), load });
  assert.throws(
    () => [...store.load("x")],
    (fault) => fault instanceof StoreError && /cannot be read: no disk/.test(fault.message),
  );
});
