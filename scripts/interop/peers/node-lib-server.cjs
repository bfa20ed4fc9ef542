// A server built on the npm package lwm2m-node-lib (LwM2M 1.0, plain text only): node-lib-server.cjs PORT
// stdin: "read EP PATH" | "write EP FORMAT PATH VALUE" | "execute EP PATH [ARGS]" | "discover EP PATH" | "observe EP PATH" |
//        "stop".
// It tells what happens in lines on stdout.
const { createInterface } = require("node:readline");
const { server } = require("lwm2m-node-lib");

const port = Number(process.argv[2]);
const tell = (line) => process.stdout.write(`${line}\n`);
const call = (work, ...args) =>
  new Promise((done, fail) =>
    work(...args, (fault, result) => (fault ? fail(fault) : done(result))),
  );

const config = {
  port,
  lifetimeCheckInterval: 1000,
  udpWindow: 100,
  defaultType: "Device",
  logLevel: "FATAL",
  ipProtocol: "udp4",
  serverProtocol: "udp4",
  formats: [{ name: "application-vnd-oma-lwm2m/text", value: 1541 }],
  writeFormat: "text/plain",
  defaultAcceptFormat: "text/plain",
};

async function obey([word, endpoint, ...rest]) {
  // Its own format is the only one it knows.
  const [path, value = ""] = word === "write" ? rest.slice(1) : rest;
  const { id } = await call(server.getDevice, endpoint);
  const target = [id, ...path.slice(1).split("/")];
  const notified = (data) => tell(`notified ${path} ${data}`);
  if (word === "read") return call(server.read, ...target);
  if (word === "write") return call(server.write, ...target, value);
  if (word === "execute") return call(server.execute, ...target, value);
  if (word === "discover") return call(server.discover, ...target);
  if (word === "observe") return call(server.observe, ...target, notified);
  throw new Error("unknown command");
}

async function main() {
  const info = await call(server.start, config);
  server.setHandler(info, "registration", (endpoint, lifetime, version, binding, links, done) => {
    tell(`registered ${endpoint} lwm2m=${version} lt=${lifetime} ${links}`);
    done();
  });
  server.setHandler(info, "updateRegistration", (device, links, done) => {
    tell(`updated ${device.name} lt=${device.lifetime}`);
    done();
  });
  server.setHandler(info, "unregistration", (device, done) => {
    tell(`unregistered ${device.name}`);
    done();
  });
  tell(`listening ${port}`);
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === "stop") break;
    await obey(line.split(" ")).then(
      (result) => tell(`answer ok ${result ?? ""}`),
      (fault) => tell(`answer error ${fault.name} ${fault.code ?? ""} ${fault.message}`),
    );
  }
  process.exit(0);
}

main().catch((fault) => {
  tell(`failed ${fault.name} ${fault.message}`);
  process.exit(1);
});
