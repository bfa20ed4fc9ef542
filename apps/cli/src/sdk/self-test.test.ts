import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { runProgram } from "./program.test-kit.ts";

/** A runtime whose WebAssembly computes wrongly: after each run one bit of the first block is another. */
const BROKEN = `
  const { Instance } = WebAssembly;
  WebAssembly.Instance = class {
    constructor(module) {
      const { run, memory } = new Instance(module).exports;
      const bytes = new Uint8Array(memory.buffer);
      this.exports = { memory, run: (...numbers) => { run(...numbers); bytes[512 + 16 * (numbers[0] + 1)] ^= 1; } };
    }
  };`;

test("where the runtime computes wrongly, neither a server nor a device starts, and nothing is left open", async () => {
  const { reports, exit, stderr } = await runProgram(`
    ${BROKEN}
    const server = new Server({ coap: "127.0.0.1:0", nosec: true });
    report(await outcome(server.start()));
    const device = new Device({ endpoint: "a", server: "coap://127.0.0.1:9" });
    report(await outcome(device.start()));
    report(await sockets());
  `);
  for (const fault of reports.slice(0, 2) as Record<string, string>[]) {
    assert.deepEqual([fault["name"], fault["code"]], ["SelfTestError", "SELF_TEST_FAILED"]);
    assert.match(fault["message"] ?? "", /the self-test of AES-CCM has failed/);
  }
  assert.equal(reports[2], 0);
  assert.equal(exit, 0, stderr);
});

test("godwit serve ends at once with one line where the runtime computes wrongly", async () => {
  const data = mkdtempSync(join(tmpdir(), "godwit-self-test-"));
  const godwit = join(import.meta.dirname, "../../bin/godwit.mjs");
  const args = ["serve", "--data", data, "--coap", "127.0.0.1:0", "--http", "127.0.0.1:0"];
  const broken = `--import=data:text/javascript,${encodeURIComponent(BROKEN)}`;
  const { code, stderr } = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
    const options = { timeout: 30_000, killSignal: "SIGKILL" } as const;
    execFile(process.execPath, [broken, godwit, ...args], options, (fault, _out, err) =>
      resolve({ code: fault?.code ?? 0, stderr: err }),
    );
  });
  rmSync(data, { recursive: true });
  assert.equal(code, 1, stderr);
  assert.match(stderr, /^godwit: the self-test of AES-CCM has failed: .*$/m);
});
