import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError, below, hex, seededRng, type StoreChange } from "@godwit/base";
import { oscore } from "@godwit/client";
import type { Credential } from "@godwit/lwm2m";
import { World } from "@godwit/netsim";
import { NonceAudit } from "../stories/nonce-audit.ts";
import { SimulatedDevice } from "./device.ts";
import { SimulatedServer, type Disk, type SimulatedStore } from "./server.ts";
import { Values } from "./values.ts";

// A2, J4 under OSCORE: what is revoked or replaced is gone, whenever the server dies, and no damaged record ends a start.

const SECRET = "0102030405060708090a0b0c0d0e0f10";
const ID = "oscore:43";
const DERIVATIONS = ["negotiated", "fixed", "both"] as const;
const HISTORY: ReadonlySet<string> = new Set(["counter", "operation", "usedContext"]);
type Derivation = (typeof DERIVATIONS)[number];

for (const derivation of DERIVATIONS) {
  test(`A2: OSCORE, ${derivation}, revoked: one write decides, one does the rest, and the device stays out over restarts`, () => {
    const { world, server, device, writes } = story(derivation);
    const before = writes.length;
    server.removeCredential(ID);
    world.run("1 s");
    const tablesOf = (write: number): readonly string[] =>
      writes[write]?.map(({ table }) => table) ?? [];
    assert.deepEqual(
      tablesOf(before).filter((table) => table !== "usedContext"),
      ["credential", "secured", "credentialChange"],
    );
    for (const table of ["protected", "oscore", "registration", "touch", "session"])
      assert.ok(tablesOf(before + 1).includes(table), table);
    assert.deepEqual(leftovers(server.store), []);
    for (let life = 0; life < 3; life++) {
      server.restart();
      device.update();
      world.run("1 h");
      assert.equal(server.stack.server.registration("sensor", world.now), undefined);
      assert.deepEqual(leftovers(server.store), []);
    }
  });

  test(`A2: OSCORE, ${derivation}, replaced: dead at any write, the server knows the old key or the new one`, () => {
    for (let after = 0; after < 3; after++) {
      const { world, server, device, writes } = story(derivation);
      const dead = { from: writes.length + after };
      writes.dead = dead;
      server.addCredential(credential(derivation, "ff".repeat(16)));
      world.run("1 s");
      writes.dead = undefined;
      server.restart();
      const isOld = after === 0;
      device.update();
      world.run("1 h");
      const there = server.stack.server.registration("sensor", world.now);
      assert.equal(there !== undefined, isOld, `dead from write ${after}`);
      assert.equal(server.store.get("protected")?.size, 1);
      assert.deepEqual(server.stack.setAside, []);
    }
  });
}

for (const derivation of DERIVATIONS)
  test(`A2: OSCORE, ${derivation}, replaced in the middle of a Register, at any moment: the old key registers nobody`, () => {
    for (let ms = 0; ms <= 300; ms += 10) {
      const world = new World({ seed: 4 });
      const slow: Disk = ({ keep, done }) => {
        world.after("25 ms", () => {
          keep();
          done(true);
        });
      };
      const server = new SimulatedServer(world, {}, { disk: slow });
      server.addCredential(credential(derivation, SECRET));
      world.run("1 s");
      sensor(world, server, derivation).start();
      world.run(`${ms} ms`);
      server.addCredential(credential(derivation, "ff".repeat(16)));
      world.run("1 min");
      assert.equal(server.stack.server.registrationCount, 0, `after ${ms} ms`);
    }
  });

for (const derivation of DERIVATIONS)
  test(`J4: OSCORE, ${derivation}: with any record damaged, cut or missing the server starts, and uses no number again`, () => {
    const rng = seededRng(3);
    const rows = [...story(derivation).server.store].flatMap(([table, all]) =>
      [...all.keys()].map((key) => [table, key] as const),
    );
    for (const [table, key] of rows) {
      for (const what of ["flipped", "cut", "missing"] as const) {
        const audit = new NonceAudit();
        audit.during(() => {
          const { world, server, device } = story(derivation);
          const store = new Map([...server.store].map(([name, all]) => [name, new Map(all)]));
          const value =
            store.get(table)?.get(key) ?? assert.fail(`${table} ${key} is there no more`);
          const bent = value.slice();
          bent[below(rng, bent.length)]! ^= 1 << below(rng, 8);
          if (what === "missing") store.get(table)?.delete(key);
          else
            store
              .get(table)
              ?.set(key, what === "cut" ? value.subarray(0, value.length >> 1) : bent);
          server.restart({ backup: store });
          device.update();
          world.run("10 min");
          server.restart();
          world.run("10 min");
        });
        assert.deepEqual(audit.faults, [], `${table} ${key} ${what}`);
        assert.ok(audit.sealed > 0);
      }
    }
  });

for (const how of ["replaced", "revoked"] as const)
  for (const derivation of DERIVATIONS)
    test(`a credential of OSCORE, ${derivation}, that a full disk did not let be ${how}: nothing has changed, in memory or store`, () => {
      const audit = new NonceAudit();
      audit.during(() => {
        const { world, server, device, writes } = story(derivation);
        const before = server.stack.server.registration("sensor", world.now);
        const rows = keysOf(server.store);
        writes.full = true;
        if (how === "revoked") server.removeCredential(ID);
        else server.addCredential(credential(derivation, "ff".repeat(16)));
        world.run("1 s");
        writes.full = false;
        assert.deepEqual(server.stack.server.registration("sensor", world.now), before);
        device.update();
        world.run("10 min");
        assert.deepEqual(keysOf(server.store), rows);
        const after = server.stack.server.registration("sensor", world.now);
        assert.deepEqual([after?.id, after?.session], [before?.id, before?.session]);
        server.restart();
        device.update();
        world.run("10 min");
        assert.equal(server.stack.server.registration("sensor", world.now)?.id, before?.id);
      });
      assert.deepEqual(audit.faults, []);
    });

for (const derivation of DERIVATIONS)
  test(`an OSCORE master secret, ${derivation}, is added again after its revocation: no nonce twice`, () => {
    const audit = new NonceAudit();
    audit.during(() => {
      const { world, server, device } = story(derivation);
      server.removeCredential(ID);
      world.run("1 s");
      for (const restarts of [false, true]) {
        if (restarts) server.restart();
        const again = (): void => server.addCredential(credential(derivation, SECRET));
        if (derivation === "fixed") {
          assert.throws(again, { code: "USED_SECRET", message: /a new master secret/ });
          continue;
        }
        again();
        device.update();
        world.run("1 h");
        assert.notEqual(server.stack.server.registration("sensor", world.now), undefined);
        server.removeCredential(ID);
        world.run("1 s");
      }
    });
    assert.deepEqual(audit.faults, []);
  });

test("an OSCORE credential that cannot be used is refused where it is added, and nothing is stored of it", () => {
  const world = new World({ seed: 4 });
  const server = new SimulatedServer(world, {});
  const unknown = { ...credential("both", SECRET), aead: 99 } as Credential;
  assert.throws(() => server.addCredential(unknown), UsageError);
  assert.deepEqual(leftovers(server.store), []);
  assert.deepEqual(server.stack.credentials(), []);
});

function story(derivation: Derivation): {
  readonly world: World;
  readonly server: SimulatedServer;
  readonly device: SimulatedDevice;
  readonly writes: (readonly StoreChange[])[] & {
    dead?: { readonly from: number } | undefined;
    full?: boolean;
  };
} {
  const world = new World({ seed: 4 });
  const writes: ReturnType<typeof story>["writes"] = [];
  const server = new SimulatedServer(
    world,
    {},
    {
      disk({ changes, keep, done }) {
        const number = writes.push(changes) - 1;
        if (writes.dead !== undefined && number >= writes.dead.from) return; // it died before
        if (writes.full !== true) keep();
        done(writes.full !== true);
      },
    },
  );
  server.addCredential(credential(derivation, SECRET));
  const device = sensor(world, server, derivation);
  device.start();
  world.run("5 s");
  assert.notEqual(server.stack.server.registration("sensor", world.now), undefined);
  return { world, server, device, writes };
}

function sensor(world: World, server: SimulatedServer, derivation: Derivation): SimulatedDevice {
  return new SimulatedDevice(world, server.address, {
    endpoint: "sensor",
    values: new Values({ "/3/0/9": 87 }),
    security: oscore({ senderId: "43", recipientId: "53", masterSecret: SECRET, derivation }),
    client: { server: { 1: 300 } },
  });
}

function credential(derivation: Derivation, secret: string): Credential {
  return {
    kind: "oscore",
    endpoint: "sensor",
    senderId: hex("53"),
    recipientId: hex("43"),
    masterSecret: hex(secret),
    masterSalt: undefined,
    idContext: undefined,
    aead: undefined,
    hkdf: undefined,
    derivation,
  };
}

function keysOf(store: SimulatedStore): readonly string[] {
  return [...store]
    .flatMap(([table, rows]) => [...rows.keys()].map((key) => `${table} ${key}`))
    .toSorted();
}

/** Tables that still hold something, but for history. */
function leftovers(store: SimulatedStore): readonly string[] {
  return [...store]
    .filter(([table, rows]) => rows.size > 0 && !HISTORY.has(table))
    .map(([table]) => table);
}
