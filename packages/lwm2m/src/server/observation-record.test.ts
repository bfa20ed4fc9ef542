import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FormatError, Writer, concat, openRow, utf8 } from "@godwit/base";
import { encodeBody } from "@godwit/coap";
import { World } from "@godwit/netsim";
import { pair } from "../flows/kit.test.ts";
import { decodeObservation, encodeObservation } from "./observation-record.ts";
import type { ObservationState, WantedObservation } from "./observations.ts";
import { observeRequest } from "./requests.ts";

const OBSERVATION: Omit<WantedObservation, "state"> = {
  endpoint: "urn:dev:ops:32473-weather-7",
  path: "/3303/0/5700",
  request: observeRequest([3303, 0, 5700], ["pmin=5"]),
  owners: ["user", "chart"],
  levels: [{}, { pmin: 10 }, {}, { pmin: 0, pmax: 0xffff_ffff }, {}],
};
const TOKEN = Uint8Array.of(0x7a, 0);
const STATES: readonly ObservationState[] = [
  { name: "wanted", why: "unregistered" },
  { name: "wanted", why: "registered" },
  { name: "wanted", why: "keys" },
  { name: "wanted", why: "restart" },
  { name: "asking", operation: 2 ** 51 - 1, first: true },
  { name: "asking", operation: 1, first: false },
  {
    name: "active",
    request: 2 ** 51,
    token: TOKEN,
    session: 3,
    heardAt: 1_800_000_000_000,
    dueBy: 5,
    failures: 1,
    refresh: 9,
  },
  { name: "refused", code: 0x84, at: 1_800_000_000_000 },
  { name: "ending", request: 7, token: TOKEN, session: 3, operation: undefined },
];

test("every state of an observation comes back from its record; what belongs to a run does not", () => {
  for (const state of STATES) {
    const decoded = decodeObservation(encodeObservation({ ...OBSERVATION, state }));
    const { state: back, ...rest } = decoded;
    assert.deepEqual(rest, OBSERVATION);
    if (state.name === "active") {
      const { request, token, heardAt } = state;
      assert.deepEqual(back, { name: "active", request, token, heardAt });
    } else if (state.name === "ending")
      assert.deepEqual(back, { name: "ending", request: 7, token: TOKEN });
    else assert.deepEqual(back, state);
  }
});

test("every prefix of a record, and a byte too many, is a FormatError; random bytes are nothing else", () => {
  for (const state of STATES) {
    const bytes = encodeObservation({ ...OBSERVATION, state });
    for (let length = 0; length < bytes.length; length++)
      assert.throws(() => decodeObservation(bytes.subarray(0, length)), FormatError);
    assert.throws(() => decodeObservation(concat(bytes, Uint8Array.of(0))), FormatError);
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(1, 2, 3, 4), (bytes, layout) => {
      try {
        decodeObservation(concat(Uint8Array.of(layout), bytes));
      } catch (fault) {
        assert.ok(fault instanceof FormatError);
      }
    }),
    { numRuns: 500 },
  );
});

/** As servers wrote it before observations had owners and states. */
function firstLayout(id: number, endpoint: string, path: string, token: Uint8Array): Uint8Array {
  const { code, options, payload } = observeRequest([3303, 0, 5700]);
  const w = new Writer(64).u8(1).u64(BigInt(id));
  for (const text of [endpoint, path]) w.prefixed(2, (inner) => inner.append(utf8(text)));
  w.u8(token.length).append(token);
  w.prefixed(3, (inner) => inner.u8(code).append(encodeBody(options, payload)));
  return w.bytes();
}

test("an active observation of layout 2, which had a number of 7 bytes and no owners, is read", () => {
  const first = firstLayout(7, "dev", "/3303/0/5700", TOKEN);
  const number = new Writer(8).u56(2 ** 52).bytes();
  const second = concat(Uint8Array.of(2), number, first.subarray(9));
  const { state, owners } = decodeObservation(second);
  assert.deepEqual(state, { name: "active", request: 2 ** 52, token: TOKEN, heardAt: undefined });
  assert.deepEqual(owners, ["user"]);
});

test("a store of layout 1 opens: the observation goes on, and is written anew when something becomes of it", () => {
  const world = new World({ seed: 3 });
  const { server, device } = pair(world, { lifetime: 3_600 });
  server.observe(device, "/3303/0/5700");
  world.run("5 s");
  const table = server.tables.get("observation")!;
  const [[key, record] = []] = [...table];
  const { state } = decodeObservation(openRow(key!, record!));
  assert.ok(state.name === "active");
  table.set(key!, firstLayout(state.request, device.endpoint, "/3303/0/5700", state.token));
  server.crash("1 s");
  world.run("5 s");
  device.set("/3303/0/5700", { type: "float", value: 30 });
  world.run("5 s");
  assert.deepEqual(server.notifications(), ["/3303/0/5700 30"]);
  server.writeAttributes(device, "/3303", "pmax=60");
  world.run("5 s");
  assert.equal(openRow(key!, table.get(key!)!)[0], 3);
});
