// Godwit's server as a user starts it: `godwit serve`, and its REST API.
import { readFile } from "node:fs/promises";
import { GODWIT } from "./godwit-device.mjs";

/** Starts the server on free ports; its CoAP port, and `api`, which gives { status, body }. */
export async function startServe(bench) {
  const data = await bench.scratch();
  const server = bench.start(process.execPath, [
    GODWIT,
    "serve",
    "--nosec",
    ...["--data", data],
    ...["--coap", "127.0.0.1:0"],
    ...["--http", "127.0.0.1:0"],
    ...["--log-level", "debug"],
  ]);
  const [, port] = await server.expect(/^CoAP +127\.0\.0\.1:(\d+)/, 20_000);
  const [, page] = await server.expect(/^Page +(\S+)/);
  const [, file] = await server.expect(/password .* in (\S+)$/);
  const password = (await readFile(file, "utf8")).trim();
  await server.expect(/^Ready/);
  const api = async (method, path, body) => {
    const answer = await fetch(`${page}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${password}`,
        ...(body && { "content-type": "application/json" }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, body: text === "" ? undefined : JSON.parse(text) };
  };
  return { server, port: Number(port), api };
}
