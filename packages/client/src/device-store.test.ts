import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { ClientSnapshot } from "@godwit/lwm2m";
import { fileStore } from "./device-store.ts";

test("what a device observed comes back from its file as it was: bytes, 64-bit numbers, NaN and Infinity", async () => {
  const directory = mkdtempSync(join(tmpdir(), "godwit-store-"));
  try {
    const snapshot: ClientSnapshot = {
      registration: undefined,
      server: { 1: 300 },
      attributes: [],
      binding: { state: "searching", low: undefined, high: undefined },
      registeredBefore: true,
      observations: {
        sequence: 64,
        items: [
          {
            path: [3303, 0],
            accept: undefined,
            own: { pmax: 60 },
            token: Uint8Array.of(7),
            request: {
              code: 1,
              options: [{ number: 6, value: new Uint8Array() }],
              payload: new Uint8Array(),
            },
            sent: [
              { path: [3303, 0, 5700], value: { type: "float", value: Number.NaN } },
              { path: [3303, 0, 5601], value: { type: "float", value: Number.NEGATIVE_INFINITY } },
              { path: [3303, 0, 5750], value: { type: "integer", value: 2n ** 60n } },
            ],
          },
        ],
      },
    };
    await fileStore(directory).save(snapshot);
    const loaded = fileStore(directory).load();
    assert.deepEqual(loaded?.observations?.items[0]?.sent, snapshot.observations?.items[0]?.sent);
    assert.deepEqual(loaded?.observations?.items[0]?.token, Uint8Array.of(7));
  } finally {
    rmSync(directory, { recursive: true });
  }
});
