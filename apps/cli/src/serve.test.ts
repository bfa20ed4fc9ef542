import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

test("serve ends with a sentence when its HTTP port is taken, and lets go of all it had opened", async () => {
  const data = mkdtempSync(join(tmpdir(), "godwit-serve-"));
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as { port: number };
  try {
    const { code, stderr } = await serve("--data", data, "--http", `127.0.0.1:${port}`);
    assert.equal(code, 1);
    assert.match(stderr, /^godwit: --http: another program has port \d+ of 127\.0\.0\.1;/m);
  } finally {
    taken.close();
    rmSync(data, { recursive: true });
  }
});

function serve(...options: string[]): Promise<{ readonly code: unknown; readonly stderr: string }> {
  const godwit = join(import.meta.dirname, "../bin/godwit.mjs");
  return new Promise((done) => {
    const args = [godwit, "serve", "--coap", "127.0.0.1:0", ...options];
    execFile(process.execPath, args, { timeout: 20_000 }, (fault, _stdout, stderr) => {
      done({ code: fault?.code, stderr });
    });
  });
}
