// Godwit's server as a user starts it: `godwit serve`, and its REST API.
import { readFile } from "node:fs/promises";
import { GODWIT } from "./godwit-device.mjs";

/**
 * Starts the server on free ports; its CoAP ports, and `api`, which gives { status, body }. `credentials`, as the REST API
 * takes them, make it listen for DTLS too. `data` and `port`: of one that is started again.
 */
export async function startServe(bench, { credentials, data, port: at = 0, options = [] } = {}) {
  data ??= await bench.scratch();
  const secure =
    credentials === undefined
      ? []
      : [
          ...["--coaps", "127.0.0.1:0"],
          ...["--credentials", await bench.file(JSON.stringify(credentials))],
        ];
  const server = bench.start(process.execPath, [
    GODWIT,
    "serve",
    "--nosec",
    ...["--data", data],
    ...["--coap", `127.0.0.1:${at}`],
    ...["--http", "127.0.0.1:0"],
    ...["--log-level", "debug"],
    ...secure,
    ...options,
  ]);
  const [, port] = await server.expect(/^CoAP +127\.0\.0\.1:(\d+)/, 20_000);
  const [, securePort] =
    credentials === undefined ? [] : await server.expect(/^CoAPs +127\.0\.0\.1:(\d+)/);
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
  return { server, data, page, port: Number(port), securePort: Number(securePort), api };
}
