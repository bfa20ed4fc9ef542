import assert from "node:assert/strict";
import { test } from "node:test";
import { newRegistration, type Registration } from "./registration.ts";
import { Registry } from "./registry.ts";

function registration(id: string, endpoint: string, session: number): Registration {
  return newRegistration({
    id,
    endpoint,
    session,
    identity: { kind: "none" },
    lifetime: 60,
    version: "1.1",
    binding: "U",
    queueMode: false,
    sms: undefined,
    objects: { root: [], formats: [], objects: [] },
    registeredAt: 0,
    now: 0,
  });
}

test("a registration is found by its id, its endpoint and its session, and by none of them once it is removed", () => {
  const registry = new Registry();
  const [a, b] = [registration("a", "lamp", 1), registration("b", "door", 2)];
  for (const one of [a, b]) registry.add(one);
  assert.equal(registry.size, 2);
  for (const one of [a, b]) {
    assert.equal(registry.byId(one.id), one);
    assert.equal(registry.byEndpoint(one.endpoint), one);
    assert.equal(registry.bySession(one.session), one);
  }
  assert.deepEqual([...registry.all()], [a, b]);
  registry.expireAt(a, 100, 0);
  registry.remove(a);
  assert.equal(registry.size, 1);
  assert.equal(registry.byId("a"), undefined);
  assert.equal(registry.byEndpoint("lamp"), undefined);
  assert.equal(registry.bySession(1), undefined);
  assert.equal(registry.nextExpiry, undefined);
  assert.equal(registry.unproven, 1);
  assert.equal(registry.oldestUnproven(), b);
});

test("the end of an older registration of an endpoint or a session takes nothing from the newer one", () => {
  const registry = new Registry();
  const [old, now] = [registration("a", "lamp", 1), registration("b", "lamp", 1)];
  registry.add(old);
  registry.add(now);
  registry.remove(old);
  assert.equal(registry.byEndpoint("lamp"), now);
  assert.equal(registry.bySession(1), now);
});

test("a registration that moves is found by its new session and not by the old one", () => {
  const registry = new Registry();
  const a = registration("a", "lamp", 1);
  registry.add(a);
  registry.move(a, 5);
  assert.equal(a.session, 5);
  assert.equal(registry.bySession(5), a);
  assert.equal(registry.bySession(1), undefined);
});

test("what nobody has proven makes room, the oldest first; what is proven, suspended or gone does not", () => {
  const registry = new Registry();
  const [a, b, c] = ["a", "b", "c"].map((id, i) => registration(id, id, i + 1)) as [
    Registration,
    Registration,
    Registration,
  ];
  for (const one of [a, b, c]) registry.add(one);
  registry.prove(a);
  assert.equal(a.proven, true);
  assert.equal(registry.isUnproven(a), false);
  assert.equal(registry.oldestUnproven(), b);
  registry.suspend(b);
  assert.equal(registry.oldestUnproven(), c);
  registry.resume(b);
  assert.equal(registry.isUnproven(b), true);
  assert.equal(registry.unproven, 2);
  registry.resume(a);
  assert.equal(registry.isUnproven(a), false, "it is proven");
  registry.remove(c);
  registry.resume(c);
  assert.equal(registry.isUnproven(c), false, "it is gone");
  const proven = { ...registration("d", "d", 9), proven: true };
  registry.add(proven);
  assert.equal(registry.isUnproven(proven), false);
  registry.prove(proven);
  assert.equal(registry.unproven, 1);
});

test("OMA TS Core 6.2.1: a lifetime ends after its grace, not before; put off it ends later, and for ever never", () => {
  const registry = new Registry();
  const [a, b] = [registration("a", "lamp", 1), registration("b", "door", 2)];
  for (const one of [a, b]) registry.add(one);
  registry.expireAt(a, 100, 10);
  registry.expireAt(b, 105, 10);
  assert.equal(registry.nextExpiry, 110);
  assert.equal(registry.expired(109, 10), undefined);
  for (const later of [104, 200]) {
    registry.expireAt(a, later, 10);
    assert.equal(registry.nextExpiry, 110, "it is looked at then, and put off");
  }
  assert.equal(registry.expired(110, 10), undefined);
  assert.equal(registry.nextExpiry, 115);
  assert.equal(registry.expired(115, 10), b);
  assert.equal(registry.nextExpiry, 210);
  registry.expireAt(a, 150, 10);
  assert.equal(registry.nextExpiry, 160, "an end that comes sooner is noted at once");
  registry.expireAt(a, undefined, 10);
  assert.equal(a.expiresAt, undefined);
  assert.equal(registry.nextExpiry, undefined);
  assert.equal(registry.expired(1_000, 10), undefined);
});

test("one that was put off does not hide another whose end has come", () => {
  const registry = new Registry();
  const [a, b] = [registration("a", "lamp", 1), registration("b", "door", 2)];
  for (const one of [a, b]) {
    registry.add(one);
    registry.expireAt(one, 100, 0);
  }
  registry.expireAt(a, 500, 0);
  assert.equal(registry.expired(100, 0), b);
});
