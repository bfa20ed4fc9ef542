// A device built on the npm package lwm2m-node-lib (LwM2M 1.0, plain text only): node-lib-device.cjs ENDPOINT HOST PORT
// stdin: "set RESOURCE VALUE" (of /3303/0) | "update" | "stop". It tells what happens in lines on stdout.
const { createInterface } = require("node:readline");
const { client } = require("lwm2m-node-lib");

const [endpoint, host, port] = process.argv.slice(2);
const formats = [{ name: "lightweightm2m/text", value: 1541 }];
const config = {
  lifetime: "60",
  version: "1.0",
  logLevel: "FATAL",
  observe: { period: 3000 },
  formats,
};
client.init({
  logLevel: "FATAL",
  client: { ...config, ipProtocol: "udp4", serverProtocol: "udp4" },
});

const tell = (line) => process.stdout.write(`${line}\n`);
const call = (work, ...args) =>
  new Promise((done, fail) =>
    work(...args, (fault, result) => (fault ? fail(fault) : done(result))),
  );

function listen({ serverInfo }) {
  client.setHandler(serverInfo, "read", (type, id, resource, value, answer) => answer(null, value));
  client.setHandler(serverInfo, "write", (type, id, resource, value, answer) => {
    tell(`written /${type}/${id}/${resource} ${value}`);
    answer(null);
  });
  client.setHandler(serverInfo, "execute", (type, id, resource, args, answer) => {
    tell(`executed /${type}/${id}/${resource} ${args ?? ""}`);
    answer(null);
  });
}

async function main() {
  const { registry } = client;
  for (const uri of ["/1/0", "/3/0", "/3303/0"]) await call(registry.create, uri);
  await call(registry.setResource, "/3/0", 0, "node-lib");
  await call(registry.setResource, "/3/0", 14, "+00:00");
  await call(registry.setResource, "/3303/0", 5700, "20.5");
  let device = await call(client.register, host, port, undefined, endpoint);
  listen(device);
  tell(`registered ${device.location}`);

  for await (const line of createInterface({ input: process.stdin })) {
    const [word, resource, value] = line.split(" ");
    if (word === "set") await call(registry.setResource, "/3303/0", Number(resource), value);
    else if (word === "update") {
      // The library listens anew after each Update, so the old listener goes first.
      await new Promise((done) => device.serverInfo.server.close(done));
      const { currentHost, currentPort, location } = device;
      device = await call(client.update, { currentHost, currentPort, location });
      device.location = location;
      device.currentHost = currentHost;
      device.currentPort = currentPort;
      listen(device);
      tell("updated");
    } else if (word === "stop") {
      await call(client.unregister, device);
      tell("deregistered");
      break;
    }
  }
  process.exit(0);
}

main().catch((fault) => {
  tell(`failed ${fault.name} ${fault.message}`);
  process.exit(1);
});
