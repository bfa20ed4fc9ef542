// LwM2M devices of strangers. They are programs of ours over a library, and all take and tell the same lines.
import { freePort } from "./bench.mjs";
import { startJava, startNodeLib } from "./peers.mjs";

/** Starts a device; see peers/LeshanDevice.java for what it tells and takes. */
export const LWM2M_DEVICES = {
  leshan: (bench, { endpoint, port }) =>
    startJava(bench, "LeshanDevice", endpoint, `coap://127.0.0.1:${port}`, 60),
  "node-lib": (bench, { endpoint, port }) =>
    startNodeLib(bench, "device", endpoint, "127.0.0.1", port),
};

/** Starts a server: its port and the process; see peers/LeshanServer.java for what it tells and takes. */
export const LWM2M_SERVERS = {
  leshan: (bench) => listening((port) => startJava(bench, "LeshanServer", port)),
  "node-lib": (bench) => listening((port) => startNodeLib(bench, "server", port)),
};

async function listening(start) {
  const port = await freePort();
  const server = start(port);
  await server.expect(/^listening/, 20_000);
  return { port, server };
}
