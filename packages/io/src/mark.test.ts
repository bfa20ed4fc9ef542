import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { formatMark, readMark, type Mark } from "./mark.ts";

const MARK: Mark = { id: "ab", generation: 7, commits: 74, instant: 1_796_000_000_000, skew: 12 };

test("a mark with any bit of it flipped is no mark, or says what it said", () => {
  const directory = mkdtempSync(join(tmpdir(), "godwit-mark-"));
  const file = join(directory, "mark.json");
  try {
    writeFileSync(file, formatMark(MARK));
    assert.deepEqual(readMark(file), MARK);
    const bytes = readFileSync(file);
    let refused = 0;
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const flipped = Uint8Array.from(bytes);
      flipped[bit >> 3]! ^= 1 << (bit & 7); // within
      writeFileSync(file, flipped);
      const read = readMark(file);
      if (read === undefined) refused += 1;
      else assert.deepEqual(read, MARK, `bit ${bit}`);
    }
    assert.ok(refused > 7 * bytes.length, String(refused));
    writeFileSync(file, JSON.stringify(MARK)); // of an earlier version
    assert.deepEqual(readMark(file), MARK);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
