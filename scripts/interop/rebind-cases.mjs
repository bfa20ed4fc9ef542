// A NAT that gives its flows new ports in the middle of everything, on real sockets; see rebind-relay.mjs.
import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import { Device } from "@godwit/client";
import { LARGE, COAP_CLIENTS, USUAL } from "./coap-peers.mjs";
import * as godwitCoap from "./godwit-coap.mjs";
import { startDevice } from "./godwit-device.mjs";
import { startServer } from "./godwit-lwm2m.mjs";
import { startServe } from "./godwit-serve.mjs";
import { LWM2M_DEVICES } from "./lwm2m-peers.mjs";
import { startRelay } from "./rebind-relay.mjs";

const ENDPOINT = "urn:dev:ops:32473-interop-3";

const ours = {
  group: "LwM2M server of Godwit",
  peer: "godwit",
  name: "NAT rebinds between two Updates of `godwit device`: one session, and an order arrives once",
  short: true,
  async run(bench) {
    const { server, port, api } = await startServe(bench);
    const relay = await relayed(bench, port);
    const device = await startDevice(bench, { endpoint: ENDPOINT, port: relay.port, lifetime: 8 });
    const { body: before } = await api("GET", `/devices/${ENDPOINT}`);

    relay.rebind();
    const given = await api("POST", `/devices/${ENDPOINT}/3303/0/5605?wait=0`);
    equal(given.status, 202);
    await until(() => relay.counts.lost > 0, "the order is sent to the forgotten port");
    equal(executions(device), 0);

    await server.expect(/"moved":true,"msg":"updated"/);
    await device.expect(/ extremes reset$/);
    await until(async () => (await api("GET", `/tasks/${given.body.id}`)).body.state === "done");
    const { body: after } = await api("GET", `/devices/${ENDPOINT}`);
    equal(after.ledger.addressChanges, before.ledger.addressChanges + 1);
    equal(after.ledger.addressChanges, 1);
    equal(after.registeredAt, before.registeredAt);
    notEqual(after.address, before.address);
    deepEqual(relay.outside, [Number(after.address.split(":")[1])]);

    await device.expect(/ updated$/, 20_000); // the one after that
    equal(executions(device), 1);
    equal((await api("GET", `/devices/${ENDPOINT}`)).body.ledger.addressChanges, 1);
  },
};

const executions = ({ lines }) => lines.filter((line) => line.endsWith("extremes reset")).length;

const notifying = {
  group: "LwM2M server of Godwit",
  peer: "godwit",
  name: "NAT rebinds and the device notifies before its next Update: that value is lost, the observation goes on",
  short: true,
  async run(bench) {
    const { server, heard, port } = await startServer(bench);
    const relay = await relayed(bench, port);
    const uri = `coap://127.0.0.1:${relay.port}`;
    const device = new Device({ endpoint: ENDPOINT, server: uri, lifetime: 60 });
    bench.after(() => device.stop({ deregister: false }));
    let celsius = 20;
    device.add(3303, { 5700: () => celsius });
    const measure = (value) => {
      celsius = value;
      device.changed("/3303/0/5700");
    };
    await device.start();
    await heard.next("registered");
    const readings = server.device(ENDPOINT).observe("/3303/0/5700")[Symbol.asyncIterator]();
    equal((await readings.next()).value.value, 20);

    relay.rebind();
    const { up } = relay.counts;
    measure(21);
    await until(() => relay.counts.up > up, "a notification from the new port");
    device.update();
    equal((await heard.next("updated")).moved, true);
    measure(22);
    equal((await readings.next()).value.value, 22);
    await readings.return();
  },
};

const strangers = Object.entries(LWM2M_DEVICES).map(([peer, start]) => ({
  group: "LwM2M server of Godwit",
  peer,
  name: "NAT rebinds between two Updates of a device: one session, and an order arrives once",
  short: true,
  async run(bench) {
    const { server, heard, port } = await startServer(bench);
    const relay = await relayed(bench, port);
    const device = start(bench, { endpoint: ENDPOINT, port: relay.port });
    await heard.next("registered", 20_000);
    const remote = server.device(ENDPOINT);
    const readings = remote.observe("/3303/0/5700")[Symbol.asyncIterator]();
    equal((await readings.next()).value.value, 20.5);

    relay.rebind();
    const executed = remote.execute("/3/0/4", "0='a'");
    await until(() => relay.counts.lost > 0, "the order is sent to the forgotten port");
    device.say("update");
    equal((await heard.next("updated")).moved, true);
    await executed;
    if (KEEPS_OBSERVATIONS.has(peer)) {
      device.say("set 5700 25");
      for (let value = 0; value !== 25;) ({ value } = (await readings.next()).value);
    }
    equal(device.lines.filter((line) => line.startsWith("executed /3/0/4")).length, 1);
    equal(server.ledgerOf(ENDPOINT).addressChanges, 1);
  },
}));

/** lwm2m-node-lib forgets its observers with each Update, NAT or none. */
const KEEPS_OBSERVATIONS = new Set(["leshan"]);

const libcoap = [
  {
    name: "NAT rebinds under an observation: the lost observer is given up, another begins",
    short: true,
    async run(bench) {
      let givenUp = 0;
      const base = await godwitCoap.server.start(bench, {
        tuning: { confirmableNotifyInterval: 1_000, ackTimeout: 300, maxRetransmit: 1 },
        onUnobserved: () => (givenUp += 1),
      });
      const relay = await relayed(bench, portOf(base));
      const observe = () => {
        const uri = `coap://127.0.0.1:${relay.port}${USUAL.clock}`;
        return bench.start("coap-client-notls", ["-w", "-s", "30", uri]);
      };
      const first = observe();
      for (let n = 0; n < 3; n++) await first.expect(/^\d+$/);
      relay.rebind();
      const heard = first.lines.length;
      await until(() => givenUp === 1, "an observer that acknowledges nothing is given up");
      ok(relay.counts.lost >= 2);
      ok(first.lines.length <= heard + 1, "what was on its way, and no more");
      const second = observe();
      for (let n = 0; n < 3; n++) await second.expect(/^\d+$/);
      equal(givenUp, 1);
    },
  },
  {
    name: "NAT rebinds every 8 datagrams of a GET block-wise: the body is whole",
    short: true,
    async run(bench) {
      const base = await godwitCoap.server.start(bench, {});
      const relay = await relayed(bench, portOf(base));
      relay.rebindEvery = 8;
      const uri = `coap://127.0.0.1:${relay.port}${USUAL.large}`;
      const { body } = await COAP_CLIENTS.libcoap.get(bench, uri, { block: 64 });
      ok(body.equals(LARGE), `${body.length} bytes: ${body}`);
      ok(relay.counts.up > 40);
    },
  },
].map((one) => ({ group: "CoAP server of Godwit", peer: "libcoap", ...one }));

export const rebindCases = [ours, notifying, ...strangers, ...libcoap];

async function relayed(bench, port) {
  const relay = await startRelay({ server: { host: "127.0.0.1", port } });
  bench.after(() => relay.close());
  return relay;
}

const portOf = (uri) => Number(new URL(uri).port);

async function until(holds, what = "", timeout = 20_000) {
  for (const end = Date.now() + timeout; !(await holds());) {
    if (Date.now() > end) throw new Error(`not within ${timeout} ms: ${what || holds}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
