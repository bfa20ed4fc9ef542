import assert from "node:assert/strict";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { FormatError, UsageError, utf8 } from "@godwit/base";
import { writeFileAtomic, writeFileAtomicSync } from "./atomic-file.ts";
import { measureLoad } from "./load.ts";
import { loadMasterKey, MasterKey } from "./master-key.ts";

async function inDirectory(use: (directory: string) => Promise<void> | void): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "godwit-files-"));
  try {
    await use(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const key = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);

for (const [name, write] of [
  ["at once", writeFileAtomicSync],
  ["in the background", writeFileAtomic],
] as const) {
  test(`a file is replaced as a whole, ${name}`, () =>
    inDirectory(async (directory) => {
      const file = join(directory, "a");
      await write(file, "first");
      assert.equal(statSync(file).mode & 0o777, 0o600);
      await write(file, utf8("second"), 0o640);
      assert.equal(readFileSync(file, "utf8"), "second");
      assert.equal(statSync(file).mode & 0o777, 0o640);
      await write(file, new Uint8Array(0));
      assert.equal(statSync(file).size, 0);
      assert.deepEqual(readdirSync(directory), ["a"]);
    }));

  test(`where it cannot be replaced nothing is left behind, ${name}`, () =>
    inDirectory(async (directory) => {
      const folder = join(directory, "folder");
      mkdirSync(folder);
      await assert.rejects(async () => write(folder, "x"), /EISDIR|ENOTEMPTY|EEXIST|EPERM/);
      await assert.rejects(async () => write(join(directory, "none", "a"), "x"), /ENOENT/);
      assert.deepEqual(readdirSync(directory), ["folder"]);
    }));
}

test("a sealed secret opens in its place and nowhere else", () => {
  const master = new MasterKey(key(1));
  for (const length of [0, 1, 16, 1_000]) {
    const secret = new Uint8Array(length).fill(7);
    const sealed = master.seal(secret, "psk/a");
    assert.equal(sealed.length, 33 + length);
    assert.deepEqual(master.open(sealed, "psk/a"), secret);
    assert.throws(() => master.open(sealed, "psk/b"), FormatError);
    assert.notDeepEqual(master.seal(secret, "psk/a"), sealed);
  }
});

test("every prefix of a sealed secret, one byte more, and every flipped bit are refused", () => {
  const master = new MasterKey(key(1));
  const sealed = master.seal(utf8("secret"), "x");
  for (let end = 0; end < sealed.length; end++) {
    assert.throws(() => master.open(sealed.subarray(0, end), "x"), FormatError);
  }
  assert.throws(() => master.open(Uint8Array.of(...sealed, 0), "x"), FormatError);
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const flipped = sealed.slice();
    flipped[bit >> 3]! ^= 1 << (bit & 7); // within the array
    assert.throws(() => master.open(flipped, "x"), FormatError);
  }
});

test("an older key still opens what it sealed; an unknown one is named", () => {
  const [old, other] = [new MasterKey(key(1)), new MasterKey(key(3))];
  const sealed = old.seal(utf8("s"), "x");
  const changed = new MasterKey(key(2), [key(1)]);
  assert.deepEqual(changed.open(sealed, "x"), utf8("s"));
  assert.notEqual(changed.id, old.id);
  assert.throws(() => other.open(sealed, "x"), { message: new RegExp(`${old.id}.*not at hand`) });
  assert.throws(() => new MasterKey(new Uint8Array(31)), UsageError);
});

test("the master key is made once, for its owner alone, and found again", () =>
  inDirectory((directory) => {
    const file = join(directory, "data", "master.key");
    const made = loadMasterKey(file, {});
    assert.deepEqual([made.created, made.exposed, made.file], [true, false, file]);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const found = loadMasterKey(file, {});
    assert.deepEqual([found.created, found.key.id], [false, made.key.id]);
    chmodSync(file, 0o644);
    assert.ok(loadMasterKey(file, {}).exposed);
  }));

test("GODWIT_MASTER_KEY_FILE names the file, which must then be there and be a key", () =>
  inDirectory((directory) => {
    const [own, named] = [join(directory, "own"), join(directory, "named")];
    const load = (): ReturnType<typeof loadMasterKey> =>
      loadMasterKey(own, { GODWIT_MASTER_KEY_FILE: named });
    assert.throws(load, /cannot read the master key .*named: ENOENT/);
    writeFileSync(named, "too short");
    assert.throws(load, /no master key: 64 hex digits or 32 bytes/);
    writeFileSync(named, `${"Ab".repeat(32)}\n`);
    const fromHex = load();
    writeFileSync(named, new Uint8Array(32).fill(0xab));
    assert.equal(load().key.id, fromHex.key.id);
    assert.deepEqual(readdirSync(directory), ["named"]);
  }));

test("load counts what this process computes", () => {
  const load = measureLoad();
  let x = 1;
  // By its own processor time: a busy machine gives little of it.
  for (const before = process.cpuUsage(); process.cpuUsage(before).user < 20_000;)
    x = (x * 16_807) % 2_147_483_647;
  const { cpu, elapsed, share } = load.take();
  load.stop();
  assert.ok(
    cpu >= 20 && elapsed > 0 && share === cpu / elapsed && x > 0,
    `${cpu} ${elapsed} ${share}`,
  );
});
