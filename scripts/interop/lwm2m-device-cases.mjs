// LwM2M: Godwit's device under strangers' servers.
import { match } from "node:assert/strict";
import { startDevice } from "./godwit-device.mjs";
import { LWM2M_SERVERS } from "./lwm2m-peers.mjs";

const ENDPOINT = "urn:dev:ops:32473-interop-2";

/** What a stranger's server does with Godwit's device once it has registered; `line` is how it told that. */
const STEPS = {
  async "registers and de-registers"({ device, server, line }) {
    match(line, /lt=60/);
    match(line, /<\/3\/0>/);
    match(line, /<\/3303\/0>/);
    void device.end("SIGTERM");
    await server.expect(/^unregistered/);
    await device.expect(/de-registered/);
  },
  "updates its registration": {
    lifetime: 4,
    async run({ device, server }) {
      for (let round = 0; round < 2; round++) {
        await server.expect(/^updated/);
        await device.expect(/ updated$/);
      }
    },
  },
  async "is read"({ server }) {
    await server.ask(`read ${ENDPOINT} /3303/0/5700`, /^answer (?:205|ok) -?\d/);
    await server.ask(`read ${ENDPOINT} /3/0/0`, /^answer (?:205|ok) Godwit$/);
  },
  async "is read where there is nothing"({ server }) {
    await server.ask(`read ${ENDPOINT} /3/0/9`, /^answer .*4\.?04/);
  },
  async "is discovered"({ server }) {
    const [links] = await server.ask(`discover ${ENDPOINT} /3303/0`, /^answer (?:205|ok) .*/);
    for (const id of [5605, 5700, 5701]) match(links, new RegExp(`</3303/0/${id}>`));
  },
  async "is written"({ device, server }) {
    await server.ask(`write ${ENDPOINT} TEXT /3/0/14 +02:00`, /^answer (?:204|ok)/);
    await device.expect(/ written: \/3\/0\/14$/);
    await server.ask(`read ${ENDPOINT} /3/0/14`, /^answer (?:205|ok) \+02:00$/);
  },
  async "is executed"({ device, server }) {
    await server.ask(`execute ${ENDPOINT} /3303/0/5605`, /^answer (?:204|ok)/);
    await device.expect(/ extremes reset$/);
  },
  async "is observed"({ server }) {
    server.say(`observe ${ENDPOINT} /3303/0/5700`);
    const values = new Set();
    while (values.size < 2) values.add((await server.expect(/^notified \S+ (.*)$/, 30_000))[1]);
  },
  async "takes a lifetime that the server writes"({ server }) {
    await server.ask(`write ${ENDPOINT} TEXT /1/0/1 6`, /^answer (?:204|ok)/);
    await server.expect(/^updated \S+ lt=6$/);
    await server.expect(/^updated \S+ lt=6$/); // and by it
  },
};

/** What only some servers can do. */
const STEPS_OF = {
  leshan: {
    ...STEPS,
    async "is read as an instance and as an object"({ server }) {
      const [, instance] = await server.ask(`read ${ENDPOINT} /3303/0`, /^answer 205 (.*)$/);
      match(instance, /5700=-?\d.*;5701=Cel/);
      const [, object] = await server.ask(`read ${ENDPOINT} /3`, /^answer 205 (.*)$/);
      match(object, /^0:.*0=Godwit/);
      const [, own] = await server.ask(`read ${ENDPOINT} /1`, /^answer 205 (.*)$/);
      match(own, /^0:.*1=60/);
    },
    async "is written in TLV"({ server }) {
      await server.ask(`write ${ENDPOINT} TLV /3/0/14 +03:00`, /^answer 204/);
      await server.ask(`read ${ENDPOINT} /3/0/14`, /^answer 205 \+03:00$/);
    },
  },
  "node-lib": STEPS,
};

export const lwm2mDeviceCases = Object.entries(LWM2M_SERVERS).flatMap(([peer, start]) =>
  Object.entries(STEPS_OF[peer]).map(([name, step]) => ({
    group: "LwM2M device of Godwit",
    peer,
    name: `the device ${name}`,
    short: true,
    async run(bench) {
      const { run = step, lifetime = 60 } = step;
      const { port, server } = await start(bench);
      const device = await startDevice(bench, { endpoint: ENDPOINT, port, lifetime });
      const [line] = await server.expect(new RegExp(`^registered ${ENDPOINT} .*`), 20_000);
      await run({ device, server, line });
    },
  })),
);
