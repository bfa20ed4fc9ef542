// CoAP clients and servers of strangers, each behind the same few verbs.
//   client: get and put give { code, body }, observe gives bodies as text; `echoes`: it meets an Echo challenge (RFC 9175 2);
//   those that do not have `again`: get twice from one port, which gives both codes and the last body
//   server: start gives its address; `paths` tells where each kind of resource is, as far as it has one
import { freePort } from "./bench.mjs";
import { PYTHON, script } from "./peers.mjs";

/** What every server with a large resource serves there. */
export const LARGE = Buffer.from(
  Array.from({ length: 3000 }, (_, i) => "a".charCodeAt(0) + (i % 26)),
);

/** Where Godwit's server, and those we wrote over a library, have their resources. */
export const USUAL = {
  hello: "/hello",
  clock: "/clock",
  large: "/large",
  store: "/echo",
  separate: "/separate",
};

/** coap-client. `first(bench)`: words before all others, those of an OSCORE context. */
export function libcoapClient(command, first = async () => []) {
  const run = async (bench, block, args) => {
    const size = block ? ["-b", String(block)] : [];
    const words = [...(await first(bench)), "-B", "10", ...size, ...args];
    const { body, complaints } = await bench.run(command, words);
    // It tells the code of a refusal only, and ends every body with a newline of its own.
    const code = /^\d\.\d\d/m.exec(complaints)?.[0];
    if (!code && complaints) throw new Error(`coap-client: ${complaints}`);
    return { code: code ?? "2.xx", body: body.subarray(0, -1) };
  };
  return {
    echoes: true,
    get: (bench, uri, { block } = {}) => run(bench, block, [uri]),
    put: async (bench, uri, body, { block } = {}) =>
      run(bench, block, ["-m", "put", "-f", await bench.file(body), uri]),
    async observe(bench, uri) {
      const words = [...(await first(bench)), "-w", "-s", "4", uri];
      return (await bench.run(command, words)).text.split("\n").filter(Boolean);
    },
  };
}

/** A client that is a script of ours over a library: all of them take the same words, after those of `first`. */
function scriptedClient(command, file, first = async () => []) {
  const start = async (bench, args) =>
    bench.run(command, [script(file), ...(await first(bench)), ...args]);
  const run = async (bench, ...args) => {
    const { body, complaints } = await start(bench, args);
    const end = body.indexOf("\n");
    if (end < 0) throw new Error(`${file}: ${complaints || "no answer"}`);
    return { code: String(body.subarray(0, end)), body: body.subarray(end + 1) };
  };
  return {
    get: (bench, uri, { block } = {}) => run(bench, "get", uri, ...exponent(block)),
    put: async (bench, uri, body, { block, outer = false } = {}) =>
      run(
        bench,
        "put",
        uri,
        await bench.file(body),
        ...exponent(block),
        ...(outer ? ["outer"] : []),
      ),
    post: async (bench, uri, body) => run(bench, "post", uri, await bench.file(body)),
    delete: (bench, uri) => run(bench, "delete", uri),
    async again(bench, uri) {
      const { code, body } = await run(bench, "again", uri);
      const end = body.indexOf("\n");
      return { codes: [code, String(body.subarray(0, end))], body: body.subarray(end + 1) };
    },
    async observe(bench, uri, count) {
      return (await start(bench, ["observe", uri, String(count)])).text.split("\n");
    },
  };
}

/** The size exponent of a block size (RFC 7959 2.2). */
const exponent = (block) => (block ? [String(Math.log2(block) - 4)] : []);

/** coap-server. `first`: as for its client. */
export const libcoapServer = (command, first = async () => []) => ({
  paths: { hello: "/", clock: "/time", store: "/example_data", separate: "/async?1" },
  async start(bench) {
    return (await this.serve(bench)).base;
  },
  /** The same with the process. */
  async serve(bench, port) {
    const at = String(port ?? (await freePort()));
    const words = [...(await first(bench)), "-A", "127.0.0.1", "-p", at, "-v7"];
    const process = bench.start(command, words);
    await process.expect(/created UDP *endpoint|listen/i);
    return { base: `coap://127.0.0.1:${at}`, port: at, process };
  },
});

const scriptedServer = (command, file, hosts, paths) => ({
  paths,
  async start(bench) {
    const port = await freePort();
    const server = bench.start(command, [script(file), ...hosts, String(port)]);
    await server.expect(/^listening/);
    return `coap://127.0.0.1:${port}`;
  },
});

/** aiocoap under an OSCORE context: `credentialsOf(bench)` gives its file, which the case's processes share. */
export const aiocoapUnder = (credentialsOf) => ({
  client: {
    ...scriptedClient(PYTHON, "aiocoap_client.py", async (bench) => [
      "--credentials",
      await credentialsOf(bench),
    ]),
    echoes: true, // what RFC 8613 B.1.2 has it answer
  },
  server: {
    paths: USUAL,
    async start(bench) {
      return (await this.serve(bench)).base;
    },
    /** The same with the process. */
    async serve(bench, port) {
      const at = String(port ?? (await freePort()));
      const args = [script("aiocoap_server.py"), "127.0.0.1", at, await credentialsOf(bench)];
      const process = bench.start(PYTHON, args);
      await process.expect(/^listening/);
      return { base: `coap://127.0.0.1:${at}`, port: at, process };
    },
  },
});

/** Its server joins the blocks of a body by their token, which RFC 7959 leaves the client free to change. */
const { store: _, ...WITHOUT_STORE } = USUAL;

export const COAP_CLIENTS = {
  libcoap: libcoapClient("coap-client-notls"),
  aiocoap: scriptedClient(PYTHON, "aiocoap_client.py"),
  "npm coap": scriptedClient(process.execPath, "npm-coap-client.mjs"),
};

export const COAP_SERVERS = {
  libcoap: libcoapServer("coap-server-notls"),
  aiocoap: scriptedServer(PYTHON, "aiocoap_server.py", ["127.0.0.1"], USUAL),
  "npm coap": scriptedServer(process.execPath, "npm-coap-server.mjs", [], WITHOUT_STORE),
};
