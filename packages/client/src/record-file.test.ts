import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { hex } from "@godwit/base";
import { StoreError } from "@godwit/io";
import { RecordFile } from "./record-file.ts";

async function within(play: (directory: string) => Promise<void> | void): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "godwit-records-"));
  try {
    await play(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test("what was answered as written is in the file, and read back by the next start", async () => {
  await within(async (directory) => {
    const file = join(directory, "state", "records.json");
    const records = new RecordFile(file);
    let returned = false;
    await new Promise<void>((done) => {
      records.write([{ table: "oscore", key: "1", value: hex("0102") }], (fault) => {
        assert.equal(fault, undefined);
        assert.ok(returned);
        assert.ok(readFileSync(file, "utf8").includes("0102"));
        done();
      });
      returned = true;
    });
    records.write([{ table: "oscore", key: "2", value: hex("03") }], () => undefined);
    records.write([{ table: "oscore", key: "1", value: undefined }], () => undefined);
    await records.close();
    assert.deepEqual([...new RecordFile(file).load("oscore")], [{ key: "2", value: hex("03") }]);
    assert.deepEqual([...new RecordFile(file).load("other")], []);
  });
});

test("a file that cannot be read ends the start: to go on without it would use numbers twice", async () => {
  await within((directory) => {
    const file = join(directory, "records.json");
    for (const text of [
      "",
      "{",
      '{"layout":9,"tables":{}}',
      '{"layout":1,"tables":{"a":{"b":"x"}}}',
    ]) {
      writeFileSync(file, text);
      assert.throws(() => new RecordFile(file), StoreError, text);
    }
  });
});

test("what cannot be written is said to whoever wrote it", async () => {
  await within(async (directory) => {
    const blocked = join(directory, "file");
    const records = new RecordFile(join(blocked, "records.json"));
    writeFileSync(blocked, "");
    const fault = await new Promise((done) => {
      records.write([{ table: "oscore", key: "1", value: hex("01") }], done);
    });
    assert.ok(fault instanceof StoreError);
  });
});

test("what could not be written is not in the file later either", async () => {
  await within(async (directory) => {
    const folder = join(directory, "state");
    const file = join(folder, "records.json");
    const records = new RecordFile(file);
    const write = (key: string): Promise<StoreError | undefined> =>
      new Promise((done) => records.write([{ table: "t", key, value: hex("01") }], done));
    assert.equal(await write("first"), undefined);
    renameSync(folder, `${folder}-away`);
    writeFileSync(folder, "a file where the directory was");
    assert.ok((await write("refused")) instanceof StoreError);
    assert.deepEqual(
      [...records.load("t")].map(({ key }) => key),
      ["first"],
    );
    rmSync(folder);
    renameSync(`${folder}-away`, folder);
    assert.equal(await write("last"), undefined);
    assert.deepEqual(
      [...new RecordFile(file).load("t")].map(({ key }) => key),
      ["first", "last"],
    );
  });
});
