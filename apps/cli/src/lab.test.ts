import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";

type Ended = { readonly code: number; readonly out: string; readonly err: string };

async function godwit(...args: readonly string[]): Promise<Ended> {
  const bin = join(import.meta.dirname, "../bin/godwit.mjs");
  return await new Promise((resolve) => {
    execFile(process.execPath, [bin, ...args], (fault, out, err) => {
      resolve({ code: fault === null ? 0 : Number(fault.code), out, err });
    });
  });
}

test("lab compare --json prints the rows and nothing else", async () => {
  const { code, out, err } = await godwit("lab", "compare", "--json", "--strategy", "udp");
  assert.equal(code, 0);
  assert.equal(err, "");
  const { rows } = JSON.parse(out) as {
    rows: readonly {
      readonly strategy: string;
      readonly step: string;
      readonly settings: string;
      readonly datagrams: readonly object[];
      readonly perHour?: { readonly packets: number };
    }[];
  };
  const update = rows.find(({ step, settings }) => step === "update" && settings === "published");
  assert.deepEqual(update?.datagrams, [
    { from: "client", name: "CON POST", bytes: 13 },
    { from: "server", name: "ACK 2.04 Changed", bytes: 5 },
  ]);
  assert.equal(update.perHour?.packets, 30);
  assert.ok(rows.every(({ strategy }) => strategy === "udp"));
});

test("lab compare says which strategies there are when it is asked for another", async () => {
  const { code, out, err } = await godwit("lab", "compare", "--strategy", "pigeon");
  assert.deepEqual([code, out], [1, ""]);
  assert.match(err, /^godwit: no strategy "pigeon"; there is udp/);
});
