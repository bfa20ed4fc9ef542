// A CoAP client built on the npm package coap.
//   get URI [SZX] | put URI FILE [SZX]   prints the code, then the body
//   again URI                            the same twice from one port: prints both codes, then the last body
//   observe URI COUNT                    prints COUNT bodies, one a line, then cancels
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import coap from "coap";

const [method, uri, ...rest] = process.argv.slice(2);
const { hostname, port, pathname, search } = new URL(uri);
const target = { hostname, port, pathname, query: search.slice(1) };
const body = method === "put" ? readFileSync(rest.shift()) : undefined;

if (method === "observe") {
  let left = Number(rest[0]);
  const request = coap.request({ ...target, observe: true });
  request.on("response", (answer) => {
    answer.on("data", (value) => {
      console.log(String(value));
      if (--left > 0) return;
      answer.close();
      setTimeout(() => process.exit(0), 200);
    });
  });
  request.end();
} else if (method === "again") {
  const agent = new coap.Agent({ type: "udp4", socket: createSocket("udp4") });
  const first = coap.request({ ...target, agent });
  first.on("response", ({ code }) => {
    process.stdout.write(`${code}\n`);
    ask({ ...target, agent });
  });
  first.end();
} else {
  ask({ ...target, method: method.toUpperCase() });
}

function ask(options) {
  const request = coap.request(options);
  if (rest[0]) request.setOption(body ? "Block1" : "Block2", Buffer.of(Number(rest[0])));
  request.on("response", ({ code, payload }) => {
    process.stdout.write(`${code}\n`);
    process.stdout.write(payload, () => process.exit(0));
  });
  request.end(body);
}
