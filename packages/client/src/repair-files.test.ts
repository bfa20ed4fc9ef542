import assert from "node:assert/strict";
import {
  cpSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { hex, utf8 } from "@godwit/base";
import type { ClientSnapshot } from "@godwit/lwm2m";
import { fileStore, type DeviceStore } from "./device-store.ts";

const NAMES = ["device.json", "records.json", "session-key"] as const;

async function inRoot(act: (root: string) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "godwit-repair-"));
  try {
    await act(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

function recordsOf(store: DeviceStore): unknown[] {
  return [...store.records().load("numbers")];
}

/** A directory with all that a device keeps. */
async function filled(directory: string): Promise<{ snapshot: unknown; sealed: Uint8Array }> {
  const store = fileStore(directory);
  const snapshot = {
    location: ["rd", "x"],
    big: 5n,
    bytes: hex("00ff"),
  } as unknown as ClientSnapshot;
  await store.save(snapshot);
  const records = store.records();
  const changes = [{ table: "numbers", key: "1", value: hex("0102030405") }];
  await new Promise<void>((done) => records.write(changes, () => done()));
  await records.close();
  return { snapshot, sealed: store.sealer!.seal(utf8("secret")) }; // fileStore has one
}

test("whatever is cut from a file of a device, or changed in it, is set aside or as it was, and never taken for true", () =>
  inRoot(async (root) => {
    const whole = join(root, "whole");
    const { snapshot, sealed } = await filled(whole);
    for (const name of NAMES) {
      const length = readFileSync(join(whole, name)).length;
      const harms: ((file: string) => void)[] = [];
      for (let n = 0; n < length; n += n < 8 || n > length - 8 ? 1 : 3)
        harms.push((file) => truncateSync(file, n));
      for (let at = 0; at < length; at += 3) {
        harms.push((file) => {
          const bytes = readFileSync(file);
          bytes[at]! ^= 0x02; // within the file
          writeFileSync(file, bytes);
        });
      }
      for (const harm of harms) {
        const directory = join(root, "harmed");
        cpSync(whole, directory, { recursive: true });
        harm(join(directory, name));
        const store = fileStore(directory);
        const said = store.repair?.(true) ?? [];
        const loaded = store.load();
        if (loaded !== undefined) assert.deepEqual(loaded, snapshot);
        const records = recordsOf(store);
        if (records.length > 0) assert.deepEqual(records, [{ key: "1", value: hex("0102030405") }]);
        const opened = store.sealer?.open(sealed);
        if (opened !== undefined) assert.deepEqual(opened, utf8("secret"));
        const lost = loaded === undefined || records.length === 0;
        assert.equal(lost, name !== "session-key", name);
        if (lost) assert.match(said.join(), /was damaged, and is kept as .*\.damaged-/);
        assert.deepEqual(fileStore(directory).repair?.(true), []);
        rmSync(directory, { recursive: true });
      }
    }
  }));

test("files that were written without a sum are read", () =>
  inRoot(async (directory) => {
    writeFileSync(
      join(directory, "device.json"),
      '{"layout":1,"snapshot":{"location":["rd","x"],"at":{"$big":"7"}}}',
    );
    writeFileSync(join(directory, "records.json"), '{"layout":1,"tables":{"numbers":{"1":"0a"}}}');
    const store = fileStore(directory);
    assert.deepEqual(store.repair?.(false), []);
    assert.deepEqual(store.load(), { location: ["rd", "x"], at: 7n });
    assert.deepEqual(recordsOf(store), [{ key: "1", value: hex("0a") }]);
    await Promise.resolve();
  }));

test("numbers of a fixed context are never made anew: the words say what to do", () =>
  inRoot(async (directory) => {
    await filled(directory);
    writeFileSync(join(directory, "records.json"), "");
    assert.throws(() => fileStore(directory).repair?.(false), {
      message: /records\.json is damaged.*new master secret, then delete the file/,
    });
    assert.equal(readFileSync(join(directory, "records.json"), "utf8"), "");
  }));

test("temporary files of a device that was killed are removed, and only these", () =>
  inRoot(async (directory) => {
    await filled(directory);
    for (let i = 0; i < 38; i++) {
      const random = i.toString(16).padStart(12, "0");
      writeFileSync(join(directory, `${NAMES[i % 3]}.${random}.tmp`), "{");
    }
    writeFileSync(join(directory, "my.tmp"), "");
    fileStore(directory).repair?.(true);
    assert.deepEqual(readdirSync(directory).toSorted(), [...NAMES, "my.tmp"].toSorted());
  }));

test("a state directory that is a file is said in words", () =>
  inRoot(async (root) => {
    const file = join(root, "a-file");
    writeFileSync(file, "");
    assert.throws(() => fileStore(file).repair?.(true), {
      message: /a-file is a file, and a directory is wanted/,
    });
    await Promise.resolve();
  }));
