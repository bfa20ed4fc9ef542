// `npm run stories -- --real`: short stories with real processes and the real clock.
//
// After each step the server answers and has said nothing of a fault of its own; nothing revoked hears a protected record; no
// nonce of DTLS serves twice. In the end all is mended: within `RECOVERY` every device that may be served is registered once,
// answers, and what is observed arrives; each operation has ended.
import { setTimeout as sleep } from "node:timers/promises";
import * as fc from "fast-check";
import { REAL_STEPS } from "./steps.mjs";
import { RealWorld } from "./world.mjs";

/** Plays the stories of these seeds one after the other; false if one broke a rule. */
export async function playReal({ first, seeds, steps }) {
  let passed = 0;
  const ran = new Map();
  for (let seed = first; seed < first + seeds; seed++)
    if (await story(seed, steps, ran)) passed += 1;
  const counts = [...ran]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([name, times]) => `${name} ${times}`);
  console.log(
    `${counts.join(", ")}\n${passed} of ${seeds} stories with real processes kept every rule`,
  );
  return passed === seeds;
}

async function story(seed, steps, ran) {
  const began = performance.now();
  const world = Object.assign(new RealWorld(), { tasks: [], lastVersion: 1, copied: undefined });
  const lines = [];
  try {
    await world.start();
    await sleep(3_000);
    for (const { name, a, b, wait } of drawn(seed, steps)) {
      lines.push(`${((performance.now() - began) / 1_000).toFixed(1)} s ${name} ${a} ${b}`);
      ran.set(name, (ran.get(name) ?? 0) + 1);
      await REAL_STEPS[name](world, { a, b });
      await sleep(wait);
      await look(world);
      if (faultsOf(world).length > 0) break;
    }
    if (faultsOf(world).length === 0) await calm(world);
  } catch (fault) {
    world.faults.push(String(fault?.stack));
  }
  const faults = faultsOf(world);
  await world.close();
  console.log(
    `seed ${seed}: ${faults.length === 0 ? "ok" : "FAILED"}, ${lines.length} steps, ${Math.round((performance.now() - began) / 1_000)} s`,
  );
  if (faults.length > 0) console.log([...lines, ...faults].map((line) => `    ${line}`).join("\n"));
  return faults.length === 0;
}

function drawn(seed, steps) {
  const step = fc.record({
    name: fc.constantFrom(...Object.keys(REAL_STEPS)),
    a: fc.nat(9),
    b: fc.nat(9),
    wait: fc.constantFrom(100, 500, 1_000, 3_000),
  });
  return fc.sample(fc.array(step, { minLength: steps, maxLength: steps, size: "max" }), {
    seed,
    numRuns: 1,
  })[0];
}

function faultsOf(world) {
  return [
    ...world.faults,
    ...[...world.devices.values()].flatMap(({ strategy, relay }) =>
      (relay?.faults ?? []).map((fault) => `${strategy}: ${fault}`),
    ),
  ];
}

async function look(world) {
  const { status, body } = await world.call("GET", "/devices?limit=1000");
  if (status !== 200) return void world.faults.push(`GET /devices answers ${status}`);
  const names = body.items.map(({ endpoint }) => endpoint);
  if (new Set(names).size !== names.length) world.faults.push(`devices are there twice: ${names}`);
  for (const { strategy, isOpen, isWelcome, serverVersion, relay } of world.devices.values()) {
    const gone = !isWelcome && (isOpen || serverVersion === undefined);
    if (gone && names.includes(strategy) && performance.now() > relay.shutSince + 1_000)
      world.faults.push(`${strategy} is shut out, and registered`);
  }
}

async function calm(world) {
  for (const { relay } of world.devices.values())
    Object.assign(relay, { cut: false, silent: false });
  const until = performance.now() + RECOVERY;
  for (const device of world.devices.values()) {
    if (!device.isWelcome) continue;
    const there = async () =>
      (await world.call("GET", `/devices/${device.strategy}`)).status === 200;
    while (!(await there()) && performance.now() < until) await sleep(500);
    const left = () => Math.max(1, Math.min(120, Math.ceil((until - performance.now()) / 1_000)));
    const { body } = await world.call(
      "GET",
      `/devices/${device.strategy}/3/0/0?wait=${left()}&expires=600`,
    );
    if (body?.state !== "done")
      world.faults.push(
        `all is well, and a read of ${device.strategy} is ${body?.state ?? JSON.stringify(body)}`,
      );
  }
  if (world.faults.length > 0) return;
  const since = performance.now();
  const waiting = () =>
    [...world.devices.values()].filter(
      ({ strategy, observed, isWelcome }) =>
        observed && isWelcome && (world.heardAt.get(strategy) ?? 0) < since,
    );
  while (waiting().length > 0 && performance.now() < until) await sleep(500);
  for (const { strategy } of waiting())
    world.faults.push(`${strategy} is observed, and no reading arrives`);
  await sleep(Math.max(0, 62_000 - (performance.now() - since) - 60_000));
  for (const id of world.tasks) {
    const { body } = await world.call("GET", `/tasks/${id}`);
    const over = body?.endedAt !== undefined || performance.now() < since;
    if (!over && body?.expiresAt < Date.now() - 5_000)
      world.faults.push(`task ${id} is ${body?.state} after its time`);
  }
}

/** ms, after all is mended: the longest wait of a device that was refused or got no answer, at the lifetime used here. */
const RECOVERY = 180_000;
