// The devices of a NAT trial, in one process inside the devices' namespace. Standard input brings readings, a JSON line
// each ({"reading":N}); standard output says what happens ({"endpoint","event",…}). {"stop":true} ends it.
//
//   node scripts/nat/devices.mjs HOST COAP_PORT COAPS_PORT STATE_DIRECTORY STRATEGY...
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Device, fileStore } from "../../packages/client/dist/index.js";
import { STRATEGIES, deviceOptions } from "./strategies.mjs";

const [host, coap, coaps, state, ...names] = process.argv.slice(2);
const ports = { coap, coaps };
let reading = 0;
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const devices = names.map((name) => {
  const { scheme } = STRATEGIES[name];
  const options = deviceOptions(name);
  const { endpoint } = options;
  const device = new Device({
    ...options,
    server: `${scheme}://${host}:${ports[scheme]}`,
    store: fileStore(join(state, name)),
  });
  let executed = 0;
  device.add(3303, {
    5700: () => reading,
    5605: () => say({ endpoint, event: "executed", count: ++executed }),
  });
  for (const event of ["registered", "refused", "unreachable", "handshakeFailed", "fault"]) {
    device.on(event, (detail) =>
      say({ endpoint, event, detail: String(detail?.fault ?? detail?.why ?? "") }),
    );
  }
  return { name, endpoint, device };
});

await Promise.all(devices.map(({ device }) => device.start()));
for await (const line of createInterface(process.stdin)) {
  const order = JSON.parse(line);
  if (order.stop) break;
  reading = order.reading;
  for (const { device } of devices) device.changed("/3303/0/5700");
}
for (const { endpoint, device } of devices) {
  const { handshakes, bytes } = device.session;
  say({ endpoint, event: "cost", handshakes, bytes });
}
await Promise.all(devices.map(({ device }) => device.stop({ deregister: false })));
process.exit(0);
