import assert from "node:assert/strict";
import { request, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { hostname } from "node:os";
import { after, before, suite, test } from "node:test";
import fastifyCookie from "@fastify/cookie";
import fastifyRateLimit from "@fastify/rate-limit";
import { Server } from "@godwit/server";
import { fastify } from "fastify";
import { serializerCompiler, validatorCompiler } from "fastify-type-provider-zod";
import { authenticate } from "./auth.ts";
import { HTTP_TUNING } from "./connections.ts";
import { createPlatform, type Platform } from "./platform.ts";

const PASSWORD = "correct horse battery";
const LIMIT = { timeout: 20_000 };

type Asked = {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Our own address: where the request comes from. */
  readonly from?: string;
};
type Answer = {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
};

function ask(url: URL, asked: Asked): Promise<Answer> {
  const {
    method = "GET",
    path = "/api/v1/devices",
    headers = {},
    body,
    from = "127.0.0.1",
  } = asked;
  return new Promise((resolve, reject) => {
    const options = {
      method,
      path,
      headers,
      localAddress: from,
      port: url.port,
      agent: false as const,
    };
    const sent = request({ host: "127.0.0.1", ...options }, (answer) => {
      let text = "";
      answer.on("data", (chunk: Buffer) => (text += chunk.toString()));
      answer.on("end", () =>
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }),
      );
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

const bearer = (password: string): Record<string, string> => ({
  authorization: `Bearer ${password}`,
});
const logIn = (password: string, more: Record<string, string> = {}): Asked => ({
  method: "POST",
  path: "/login",
  headers: { "content-type": "application/json", ...more },
  body: JSON.stringify({ password }),
});

suite("who may in", () => {
  const server = new Server({ coap: "127.0.0.1:0", nosec: true });
  const platforms: Platform[] = [];

  before(() => server.start());
  after(async () => {
    for (const one of platforms) await one.close();
    await server.close();
  });

  async function served(more: Partial<Parameters<typeof createPlatform>[0]> = {}): Promise<URL> {
    const auth = {
      kind: "password",
      password: PASSWORD,
      publicUrl: "https://godwit.example",
    } as const;
    const platform = await createPlatform({ server, auth, ...more });
    platforms.push(platform);
    return new URL(await platform.listen("127.0.0.1", 0));
  }

  const guessers: { title: string; guess: Asked; right: Asked; good: number }[] = [
    {
      title: "wrong passwords as bearer token are limited for their source alone",
      guess: { headers: bearer("guess") },
      right: { headers: bearer(PASSWORD) },
      good: 200,
    },
    {
      title: "wrong passwords at the log-in form are limited for their source alone",
      guess: logIn("guess"),
      right: logIn(PASSWORD),
      good: 204,
    },
  ];
  for (const { title, guess, right, good } of guessers) {
    test(title, LIMIT, async () => {
      const url = await served();
      const cookie = String((await ask(url, logIn(PASSWORD))).headers["set-cookie"]).split(";")[0]!;
      const from = "127.0.0.2";
      const seen = new Map<number, number>();
      for (let i = 0; i < 200; i++) {
        const { status, headers } = await ask(url, { ...guess, from });
        seen.set(status, (seen.get(status) ?? 0) + 1);
        if (status === 429) assert.ok(Number(headers["retry-after"]) <= 60);
      }
      assert.deepEqual(
        [...seen],
        [
          [401, 10],
          [429, 190],
        ],
      );
      // The right password could have been the next guess.
      assert.equal((await ask(url, { ...right, from })).status, 429);
      assert.equal((await ask(url, right)).status, good); // from elsewhere
      assert.equal((await ask(url, { headers: { cookie }, from })).status, 200); // a log-in goes on
    });
  }

  test("right passwords are never limited", LIMIT, async () => {
    const url = await served();
    for (let i = 0; i < 50; i++) {
      assert.equal((await ask(url, { headers: bearer(PASSWORD) })).status, 200);
    }
  });

  test("guesses under a foreign name do not use up those of this machine", LIMIT, async () => {
    const url = await served();
    const headers = { ...bearer("guess"), host: "evil.example" };
    for (let i = 0; i < 11; i++) await ask(url, { headers });
    assert.equal((await ask(url, { headers })).status, 429);
    assert.equal((await ask(url, logIn(PASSWORD))).status, 204);
  });

  test("sources are IPv4 addresses, mapped ones too, and /64 prefixes of IPv6", async () => {
    const app = fastify();
    app.setValidatorCompiler(validatorCompiler);
    app.setSerializerCompiler(serializerCompiler);
    await app.register(fastifyCookie);
    await app.register(fastifyRateLimit, { global: false });
    authenticate(app, { kind: "password", password: PASSWORD }, new Set());
    const from = async (remoteAddress: string, password = "guess"): Promise<number> => {
      const headers = { ...bearer(password), host: "localhost" };
      return (await app.inject({ url: "/api/v1/access", headers, remoteAddress })).statusCode;
    };
    for (let i = 0; i < 11; i++) {
      await from(`2001:db8:0:1::${i}`);
      await from(i % 2 === 0 ? "192.0.2.1" : "::ffff:192.0.2.1");
    }
    assert.equal(await from("2001:db8:0:1:ffff::1"), 429);
    assert.equal(await from("::ffff:192.0.2.1", PASSWORD), 429);
    assert.equal(await from("2001:db8:0:2::1"), 401);
    assert.equal(await from("2001:db8:0:2::1", PASSWORD), 200);
    assert.equal(await from("192.0.2.2", PASSWORD), 200);
    await app.close();
  });

  const foreign = [
    { origin: "http://evil.example" },
    { origin: "null" },
    { "sec-fetch-site": "cross-site" },
    { "sec-fetch-site": "same-site", origin: "http://127.0.0.1:1" }, // another port
    { origin: "http://127.0.0.1:1" },
  ];
  for (const { title, open } of [
    { title: "no page of another origin can change anything in the demo", open: true },
    { title: "no page of another origin can change anything in a log-in", open: false },
  ]) {
    test(title, LIMIT, async () => {
      const url = await served(open ? { auth: { kind: "open" } } : {});
      const cookie = open
        ? "godwit_session=none"
        : String((await ask(url, logIn(PASSWORD))).headers["set-cookie"]).split(";")[0]!;
      const path = "/api/v1/devices/nobody/3303/0/5605";
      const nobody = 404; // it got as far as the device
      for (const headers of foreign) {
        for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
          const refused = await ask(url, { method, path, headers: { cookie, ...headers } });
          assert.equal(refused.status, 403, JSON.stringify(headers));
          assert.match(String(refused.headers["content-type"]), /problem\+json/);
          assert.match(refused.text, /another origin/);
        }
        // To read a resource asks a device.
        for (const written of [path, path.replace("/api", "/%61pi"), `${url.origin}${path}`])
          assert.equal(
            (await ask(url, { path: written, headers: { cookie, ...headers } })).status,
            403,
            written,
          );
      }
      const own = { cookie, origin: url.origin, "sec-fetch-site": "same-origin" };
      assert.equal((await ask(url, { method: "POST", path, headers: own })).status, nobody);
      assert.equal(
        (await ask(url, { method: "POST", path, headers: { cookie, origin: url.origin } })).status,
        nobody,
      );
      const typed = { cookie, "sec-fetch-site": "none" };
      assert.equal((await ask(url, { path, headers: typed })).status, nobody);
      assert.equal((await ask(url, { method: "POST", path, headers: { cookie } })).status, 403);
      const proxied = { cookie, origin: "https://godwit.example" }; // under the Host that the proxy chose
      const { status } = await ask(url, { method: "POST", path, headers: proxied });
      assert.equal(status, open ? 403 : nobody);
    });
  }

  test(
    "a bearer token makes up for the origin; a page elsewhere cannot log in",
    LIMIT,
    async () => {
      const url = await served();
      const headers = { ...bearer(PASSWORD), origin: "http://evil.example" };
      const path = "/api/v1/devices/nobody";
      assert.equal((await ask(url, { method: "DELETE", path, headers })).status, 404);
      const elsewhere = await ask(url, logIn(PASSWORD, { origin: "http://evil.example" }));
      assert.equal(elsewhere.status, 403);
      assert.equal(elsewhere.headers["set-cookie"], undefined);
    },
  );

  const names = [
    { host: "evil.example", open: 403, closed: 403 },
    { host: "127.0.0.1.evil.example", open: 403, closed: 403 },
    { host: "localhost:8080", open: 200, closed: 401 },
    { host: "[::1]:8080", open: 200, closed: 401 },
    { host: "192.0.2.7", open: 403, closed: 401 },
    { host: "[2001:db8::1]", open: 403, closed: 401 },
    { host: "Godwit.Example", open: 403, closed: 401 },
    { host: hostname(), open: 403, closed: 401 },
  ];
  for (const { title, open } of [
    { title: "a demo answers under its own names only", open: true },
    { title: "a server answers under its own names only", open: false },
  ]) {
    test(title, LIMIT, async () => {
      const url = await served(open ? { auth: { kind: "open" } } : {});
      for (const name of names) {
        const { status, text } = await ask(url, { headers: { host: name.host } });
        assert.equal(status, open ? name.open : name.closed, `${name.host}: ${text}`);
        if (status === 403) assert.match(text, /not known as/);
        assert.equal(
          (await ask(url, { path: "/livez", headers: { host: name.host } })).status,
          200,
        );
      }
    });
  }

  test("half a request is cut off, whichever half it is", LIMIT, async () => {
    assert.ok(HTTP_TUNING.headersTimeout <= 15_000 && HTTP_TUNING.requestTimeout <= 30_000);
    const url = await served({
      http: { headersTimeout: 300, requestTimeout: 600, checkEvery: 50 },
    });
    const halves = [
      "",
      "POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\n",
      "POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    ];
    const sockets = await Promise.all(halves.map((text) => half(url, text)));
    const answers: string[] = [];
    for (const socket of sockets) socket.on("data", (chunk) => answers.push(String(chunk)));
    const trickle = await half(url, halves[2]!);
    const dripping = setInterval(() => trickle.write(" "), 20);
    await Promise.all([...sockets, trickle].map((socket) => closed(socket)));
    clearInterval(dripping);
    for (const one of answers) assert.match(one, /^HTTP\/1\.1 408 [^]*did not come in time/);
    assert.ok(answers.length >= 2);
    assert.equal((await ask(url, { headers: bearer(PASSWORD) })).status, 200);
  });

  test("one source has so many connections and leaves the others room", LIMIT, async () => {
    const url = await served({ http: { maxConnectionsPerSource: 5 } });
    const greedy = await Promise.all(
      Array.from({ length: 8 }, () => half(url, "", "127.0.0.3").catch(() => undefined)),
    );
    let open = greedy.filter((socket) => socket !== undefined);
    while (open.filter((socket) => !socket.destroyed).length > 5) {
      await Promise.race(open.map((socket) => closed(socket)));
      open = open.filter((socket) => !socket.destroyed);
    }
    assert.equal(open.filter((socket) => !socket.destroyed).length, 5);
    assert.equal((await ask(url, { headers: bearer(PASSWORD) })).status, 200);
    for (const socket of open) socket.destroy();
    await Promise.all(open.map((socket) => closed(socket)));
  });
});

function half(url: URL, text: string, from = "127.0.0.1"): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(
      { port: Number(url.port), host: "127.0.0.1", localAddress: from },
      () => {
        socket.write(text);
        resolve(socket);
      },
    );
    socket.on("error", reject);
    socket.resume();
  });
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed) resolve();
    else socket.once("close", () => resolve());
  });
}
