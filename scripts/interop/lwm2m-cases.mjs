// LwM2M: strangers' devices under Godwit's server.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { startServer } from "./godwit-lwm2m.mjs";
import { LWM2M_DEVICES } from "./lwm2m-peers.mjs";

const ENDPOINT = "urn:dev:ops:32473-interop-1";
const VALUE = "/3303/0/5700";
const OFFSET = "/3/0/14";

/** What happens to a stranger's device that has registered; `heard` is what Godwit's server told since its start. */
const STEPS = {
  async "registers and de-registers"({ device, heard, expected }) {
    const { device: seen } = await heard.next("registered");
    equal(seen.endpoint, ENDPOINT);
    equal(seen.lifetime, 60);
    equal(seen.version, expected.version);
    device.say("stop");
    await device.expect(/^deregistered/);
    deepEqual(await heard.next("deregistered"), { endpoint: ENDPOINT, why: "device" });
  },
  /** lwm2m-node-lib repeats `lwm2m` in it, which no Update has. */
  async "updates its registration"({ device, heard, remote, expected }) {
    device.say("update");
    await device.expect(/^updated/);
    equal((await heard.next("updated")).device.version, expected.version);
    equal(await remote.read(VALUE), 20.5);
  },
  async "is read"({ remote, expected }) {
    equal(await remote.read(VALUE), 20.5);
    equal(await remote.read("/3/0/0"), expected.manufacturer);
  },
  async "is discovered"({ remote }) {
    match(await remote.discover("/3303/0"), /<\/3303\/0\/5700>/);
  },
  async "is written"({ device, remote }) {
    await remote.write(OFFSET, "+02:00");
    equal((await device.expect(/^written \/3\/0\/14 (.*)$/))[1], "+02:00");
    equal(await remote.read(OFFSET), "+02:00");
  },
  async "is executed"({ device, remote }) {
    await remote.execute("/3/0/4", "0='a'");
    equal((await device.expect(/^executed \/3\/0\/4 (.*)$/))[1], "0='a'");
  },
  async "is observed, and not after that"({ device, remote }) {
    const seen = [];
    for await (const { value } of remote.observe(VALUE)) {
      seen.push(value);
      if (seen.length === 4) break;
      device.say(`set 5700 ${20.5 + seen.length}`);
    }
    // Whether the library tells the first value twice is its own affair.
    deepEqual([...new Set(seen)].slice(0, 3), [20.5, 21.5, 22.5]);
    ok(device.lines.every((line) => !line.startsWith("failed")));
  },
};

/** Where the strangers differ. */
const STEPS_OF = {
  leshan: {
    ...STEPS,
    async "is read as an instance"({ remote }) {
      const all = await remote.readAll("/3/0");
      const values = new Map(all.map(({ path, value }) => [path, value]));
      equal(values.get("/3/0/0"), "Leshan");
      equal(values.get("/3/0/9"), 87);
      equal(values.get(OFFSET), "+00:00");
    },
  },
  "node-lib": STEPS,
};

const EXPECTED = {
  leshan: { version: "1.1", manufacturer: "Leshan" },
  "node-lib": { version: "1.0", manufacturer: "node-lib" },
};

export const lwm2mCases = Object.entries(LWM2M_DEVICES).flatMap(([peer, start]) =>
  Object.entries(STEPS_OF[peer]).map(([name, step]) => ({
    group: "LwM2M server of Godwit",
    peer,
    name: `a device ${name}`,
    short: true,
    async run(bench) {
      const { server, heard, port } = await startServer(bench);
      const device = start(bench, { endpoint: ENDPOINT, port });
      await device.expect(/^registered/, 20_000);
      const remote = server.device(ENDPOINT);
      await step({ device, heard, remote, expected: EXPECTED[peer] });
    },
  })),
);
