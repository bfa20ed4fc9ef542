// CoAP, both roles: the same list of things to do, for every pair of Godwit and a stranger.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { COAP_CLIENTS, COAP_SERVERS, LARGE, USUAL } from "./coap-peers.mjs";
import * as godwit from "./godwit-coap.mjs";

/** What a client does with a server. `short`: part of the short run. `needs`: a resource the server must have. */
const STEPS = [
  {
    name: "GET",
    needs: "hello",
    short: true,
    async run({ bench, client, base, paths }) {
      const { code, body } = await client.get(bench, base + paths.hello);
      match(code, /^2\./);
      ok(body.length > 4, "a body");
    },
  },
  {
    name: "GET of nothing is 4.04",
    needs: "hello",
    short: true,
    async run({ bench, client, base }) {
      equal((await client.get(bench, `${base}/nothing-here`)).code, "4.04");
    },
  },
  {
    name: ".well-known/core",
    needs: "clock",
    short: true,
    async run({ bench, client, base, paths }) {
      const { body } = await client.get(bench, `${base}/.well-known/core`);
      const clock = String(body)
        .split(",<")
        .find((link) => link.includes(`${paths.clock}>`));
      match(clock ?? `no ${paths.clock} in ${body}`, /;obs/);
    },
  },
  {
    name: "separate response",
    needs: "separate",
    short: true,
    async run({ bench, client, base, paths }) {
      match((await client.get(bench, base + paths.separate)).code, /^2\./);
    },
  },
  {
    name: "GET block-wise, the server's size",
    needs: "large",
    async run({ bench, client, base, paths }) {
      whole(await client.get(bench, base + paths.large));
    },
  },
  {
    name: "GET block-wise, 64 bytes",
    needs: "large",
    short: true,
    async run({ bench, client, base, paths }) {
      whole(await client.get(bench, base + paths.large, { block: 64 }));
    },
  },
  ...[64, 512].map((block) => ({
    needs: "store",
    name: `PUT block-wise, ${block} bytes, then GET block-wise`,
    short: block === 64,
    async run({ bench, client, base, paths }) {
      const { code } = await client.put(bench, base + paths.store, LARGE, { block });
      match(code, /^2\./);
      whole(await client.get(bench, base + paths.store, { block }));
    },
  })),
  {
    name: "observe",
    needs: "clock",
    short: true,
    async run({ bench, client, base, paths }) {
      const seen = await client.observe(bench, base + paths.clock, 4);
      ok(new Set(seen).size >= 3, `three values, not ${seen}`);
    },
  },
];

function whole({ code, body }) {
  match(code, /^2\./);
  ok(body.equals(LARGE), `${LARGE.length} bytes as they were sent, not ${body.length}: ${body}`);
}

/** The cases that `server` has the resources for. */
export function pair(group, peer, client, server) {
  const { paths } = server;
  return STEPS.filter(({ needs }) => needs in paths).map((step) => ({
    group,
    peer,
    name: step.name,
    short: step.short ?? false,
    async run(bench) {
      const base = await server.start(bench, { trusting: !client.echoes });
      await step.run({ bench, client, base, paths });
    },
  }));
}

/** A stranger whose answer is longer than three times its request, and who does not know Echo (RFC 9175 2.4). */
function withoutEcho(peer, client) {
  return {
    group: "CoAP server of Godwit",
    peer,
    name: "GET without Echo: 4.01, and when asked again the whole in small blocks",
    short: true,
    async run(bench) {
      const base = await godwit.server.start(bench);
      const { codes, body } = await client.again(bench, base + USUAL.large);
      deepEqual(codes, ["4.01", "2.05"]);
      ok(body.equals(LARGE), `${body.length} bytes: ${body}`);
    },
  };
}

export const coapCases = [
  ...Object.entries(COAP_CLIENTS).flatMap(([peer, client]) =>
    pair("CoAP server of Godwit", peer, client, godwit.server),
  ),
  ...Object.entries(COAP_CLIENTS)
    .filter(([, { echoes }]) => !echoes)
    .map(([peer, client]) => withoutEcho(peer, client)),
  ...Object.entries(COAP_SERVERS).flatMap(([peer, server]) =>
    pair("CoAP client of Godwit", peer, godwit.client, server),
  ),
];
