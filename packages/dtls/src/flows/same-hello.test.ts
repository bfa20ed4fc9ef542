import assert from "node:assert/strict";
import { test } from "node:test";
import { type Rng, seededRng } from "@godwit/base";
import { exchange } from "./exchange.ts";
import { Wire } from "./wire.ts";

const EMPTY = new Uint8Array(0);

/** Randoms of 32 bytes begin with a clock, as in many stacks; `salt` goes into the bytes that `differs` says. */
function clocked(salt: number, differs: (at: number) => boolean): Rng {
  const rng = seededRng(salt);
  return {
    ...rng,
    float: () => rng.float(),
    bytes: (length) => {
      const bytes = rng.bytes(length);
      if (length !== 32) return bytes;
      return Uint8Array.from(bytes, (byte, at) => (differs(at) ? byte : 0x5a));
    },
  };
}

for (const [what, differs] of [
  ["the same first 4 bytes of random", (at: number) => at >= 4],
  ["all bytes of random but one the same", (at: number) => at === 31],
  ["all bytes of random but the first the same", (at: number) => at === 0],
] as const) {
  test(`RFC 6347 4.2.8: a device that reboots on its address and port, with ${what}, has a new session at once`, () => {
    for (const connectionId of [undefined, EMPTY]) {
      for (const moment of ["live", "handshake"] as const) {
        const wire = new Wire();
        const more = connectionId === undefined ? {} : { connectionId };
        const before = wire.client({ ...more, rng: clocked(1, differs) });
        if (moment === "live") {
          wire.connect(before);
          exchange(wire, before);
        } else {
          const path = { local: before.address, remote: { host: "198.51.100.1", port: 5_684 } };
          wire.tell(before, { type: "connect", session: 1, path, how: "full" });
          wire.run(35); // the server has answered, the answer is under way
          assert.equal(wire.server.machine.handshakes, 1);
        }
        wire.clients.length = 0;
        const after = wire.client({ ...more, rng: clocked(2, differs), address: before.address });
        const began = wire.sent.length;
        wire.connect(after);
        assert.equal(after.of("opened").length, 1, moment);
        assert.equal(wire.sent.length - began, 6, "not one datagram was in vain");
        exchange(wire, after);
        assert.equal(wire.server.machine.size, 1);
        assert.equal(wire.server.machine.handshakes, 0);
      }
    }
  });
}

test("RFC 6347 4.2.8: late copies of the hello of a live association, whole or cut anew, are not answered", () => {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY });
  wire.connect(client);
  const hellos = wire.sent.filter(({ from, bytes }) => from === "client" && bytes[13] === 1);
  const before = wire.sent.length;
  const copy = hellos[1]?.bytes ?? EMPTY;
  for (let i = 0; i < 5; i++) wire.inject(copy, client.address);
  assert.equal(wire.sent.length, before);
  assert.equal(wire.server.machine.handshakes, 0);
  exchange(wire, client);
});

test("RFC 6347 4.2.4: a hello that is repeated in smaller fragments goes on with its handshake", () => {
  const wire = new Wire();
  let n = 0;
  wire.carry = ({ from }) => (from === "server" && n++ > 0 && n < 6 ? [] : [10]);
  const client = wire.client({ connectionId: EMPTY, tuning: { mtus: [1_232, 80, 80] } });
  wire.connect(client);
  wire.run(60_000);
  assert.equal(client.of("opened").length, 1);
  assert.equal(wire.server.of("failed").length, 0);
  exchange(wire, client);
});
