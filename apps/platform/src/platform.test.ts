import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { X509Certificate, createHash, generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, suite, test } from "node:test";
import { Device } from "@godwit/client";
import { Server } from "@godwit/server";
import { createPlatform, type Platform } from "./platform.ts";

const PASSWORD = "correct horse battery";
/** Stands in for a master key: what is sealed is not what was given. */
const sealer = {
  seal: (secret: Uint8Array): Uint8Array => secret.map((byte) => byte ^ 0x5a),
  open: (sealed: Uint8Array): Uint8Array => sealed.map((byte) => byte ^ 0x5a),
};
const server = new Server({
  coap: "127.0.0.1:0",
  nosec: true,
  sealer,
  // All tests share a process: minutes may pass between the device's last word and a test.
  tuning: { awakeWindow: 25, trustedBinding: 3_600_000 },
});
let platform: Platform;
let url: string;
let device: Device;
let sleeper: Device;
let resets = 0;

// The hooks are the suite's: all test files share one process.
suite("the HTTP face", () => {
  before(async () => {
    await server.start();
    platform = await createPlatform({ server, auth: { kind: "password", password: PASSWORD } });
    url = await platform.listen("127.0.0.1", 0);
    const uri = `coap://${server.addresses[0]}`;
    device = new Device({ endpoint: "thermo", server: uri, lifetime: 300 });
    device.add(3303, {
      5700: 21.5,
      5701: "Cel",
      5605: () => {
        resets += 1;
      },
    });
    sleeper = new Device({ endpoint: "sleeper", server: uri, lifetime: 300, queueMode: true });
    sleeper.add(3303, { 5700: 4, 5701: "Cel" });
    const registered = [device, sleeper].map(
      (one) => new Promise<void>((done) => one.on("registered", () => done())),
    );
    await Promise.all([device.start(), sleeper.start()]);
    await Promise.all(registered);
  });

  after(async () => {
    await Promise.all([device.stop(), sleeper.stop()]);
    await platform.close();
    await server.close();
  });

  async function call(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; json: any; headers: Headers }> {
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${PASSWORD}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return {
      status: answer.status,
      json: text === "" ? undefined : JSON.parse(text),
      headers: answer.headers,
    };
  }

  /** The sleeper's awake window of 25 ms ends. */
  async function untilAsleep(): Promise<void> {
    while (server.deviceView("sleeper")?.reachability !== "asleep") {
      await new Promise((done) => setTimeout(done, 10));
    }
  }

  test("the list has every device, with its state and what its session cost", async () => {
    await untilAsleep();
    const { json } = await call("GET", "/api/v1/devices");
    assert.equal(json.total, 2);
    assert.deepEqual(
      json.items.map((one: { endpoint: string }) => one.endpoint),
      ["sleeper", "thermo"],
    );
    const [asleep, awake] = json.items;
    assert.equal(asleep.reachability, "asleep");
    assert.equal(awake.reachability, "reachable");
    assert.ok(awake.ledger.in.total > 50);
    assert.equal("session" in awake, false);
  });

  test("H3: one order more than may wait for a device is a 503 with the reason, and the code that the SDK's error has", async () => {
    await untilAsleep();
    const path = "/api/v1/devices/sleeper/3303/0/5700?wait=0";
    const all = await Promise.all(Array.from({ length: 101 }, () => call("GET", path)));
    const { status, json } = all.find((one) => one.status !== 202) ?? {};
    assert.equal(status, 503);
    assert.deepEqual(
      { detail: json.detail, code: json.code },
      { detail: "100 operations already wait for this device", code: "OPERATION_LIMIT" },
    );
    for (const { id } of server.tasksOf("sleeper")) server.cancel(id);
  });

  test("what nobody reads or knows is refused with the name of it, and every refusal is a problem", async () => {
    const faults: readonly [method: string, path: string, body: unknown, words: RegExp][] = [
      ["DELETE", "/api/v1/devices/nobody", { force: true }, /takes no body/],
      ["GET", "/api/v1/devices/%ff", undefined, /%ff|url|URL/],
      ["PUT", "/api/v1/devices/thermo/3303/0?attributes=pmin=5", { value: 1 }, /takes no body/],
      ["POST", "/api/v1/devices/thermo/3303/0/5700?observe", { value: 1 }, /takes no body/],
      [
        "PUT",
        "/api/v1/devices/thermo/3303/0",
        { value: { "05700": 1 } },
        /"05700" is no resource id/,
      ],
      ["GET", "/api/v1/refusals?reason=foo", undefined, /"reason": write one of alert, .*wrongKey/],
      [
        "GET",
        `/api/v1/devices?q=${"a".repeat(256)}`,
        undefined,
        /"q": write at most 255 characters/,
      ],
      [
        "POST",
        "/api/v1/credentials",
        { kind: "magic" },
        /kind: write one of psk, oscore, rpk, x509/,
      ],
      ["POST", "/api/v1/credentials", { kind: "psk", endpoint: "e" }, /identity: it is missing/],
      ["POST", "/api/v1/credentials", undefined, /./],
    ];
    for (const [method, path, body, words] of faults) {
      const { status, json, headers } = await call(method, path, body);
      assert.equal(status, 400, path);
      assert.match(json.detail, words, path);
      assert.match(headers.get("content-type") ?? "", /^application\/problem\+json/);
    }
    const head = { authorization: `Bearer ${PASSWORD}`, "content-type": "text/csv" };
    const csv = await fetch(`${url}/api/v1/credentials`, {
      method: "POST",
      headers: head,
      body: "a",
    });
    assert.equal(csv.status, 415);
    assert.match(((await csv.json()) as { detail: string }).detail, /Send JSON/);
    const look = await fetch(`${url}/api/v1/events`, { method: "HEAD", headers: head });
    assert.equal(look.status, 405, "nobody waits for the events of a HEAD");
  });

  test("an instance with a resource that no server may write is made by the device alone, which says so", async () => {
    const made = { instance: 1, values: { "5700": 20 } };
    const { status, json } = await call("POST", "/api/v1/devices/thermo/3303", made);
    assert.deepEqual([status, json.coap_code], [502, "4.00"]);
    assert.match(json.detail, /^an instance of 3303 needs 5700, which the device alone can give$/);
  });

  test("the list pages by a cursor and finds by name", async () => {
    const first = await call("GET", "/api/v1/devices?limit=1");
    assert.equal(first.json.next, "sleeper");
    const second = await call("GET", `/api/v1/devices?limit=1&cursor=${first.json.next}`);
    assert.equal(second.json.items[0].endpoint, "thermo");
    assert.equal(second.json.next, undefined);
    const found = await call("GET", "/api/v1/devices?q=leep");
    assert.equal(found.json.items.length, 1);
  });

  test("read, write, execute, discover: the path below a device is its LwM2M path", async () => {
    const read = await call("GET", "/api/v1/devices/thermo/3303/0/5700");
    assert.equal(read.json.answer.values[0].value, 21.5);
    const executed = await call("POST", "/api/v1/devices/thermo/3303/0/5605");
    assert.equal(executed.json.answer.code, "2.04");
    assert.equal(resets, 1);
    const links = await call("GET", "/api/v1/devices/thermo/3303?discover");
    assert.match(links.json.answer.text, /<\/3303\/0\/5700>/);
    const written = await call("PUT", "/api/v1/devices/thermo/1/0/1", { value: 600 });
    assert.equal(written.json.answer.code, "2.04");
    const limit = await call("PUT", "/api/v1/devices/thermo/3303/0/5700?attributes=pmin=10");
    assert.equal(limit.json.answer.code, "2.04");
  });

  test("a task that nobody knows is a problem to read and to cancel", async () => {
    for (const method of ["GET", "DELETE"]) {
      const { status, json } = await call(method, "/api/v1/tasks/999999999999");
      assert.deepEqual({ status, title: json.title }, { status: 404, title: "No such task" });
    }
  });

  test("an order for a sleeping device is accepted with 202 and can be followed and cancelled", async () => {
    const order = await call("GET", "/api/v1/devices/sleeper/3303/0/5700?wait=0");
    assert.equal(order.status, 202);
    const location = order.headers.get("location")!;
    assert.equal((await call("GET", location)).json.state, "waiting");
    sleeper.update();
    const ended = await server.ended(order.json.id, 5_000);
    assert.equal(ended.answer?.values?.[0]?.value, 4);
    assert.equal((await call("GET", location)).json.state, "done");

    await untilAsleep();
    const other = await call("GET", "/api/v1/devices/sleeper/3303/0/5700?wait=0");
    assert.equal((await call("DELETE", other.headers.get("location")!)).status, 204);
    assert.equal((await call("GET", other.headers.get("location")!)).json.state, "cancelled");
  });

  test("an observation's readings come as server-sent events", async () => {
    const stop = new AbortController();
    const stream = await fetch(`${url}/api/v1/events`, {
      headers: { authorization: `Bearer ${PASSWORD}` },
      signal: stop.signal,
    });
    const observed = await call("POST", "/api/v1/devices/thermo/3303/0/5700?observe");
    assert.equal(observed.status, 200);
    await call("PUT", "/api/v1/devices/thermo/3303/0/5700?attributes=pmin=0");
    device.set("/3303/0/5700", 23);
    let text = "";
    for await (const chunk of stream.body!) {
      text += new TextDecoder().decode(chunk);
      if (text.includes("event: notification") && text.includes('"value":23')) break;
    }
    stop.abort();
    const cancelled = await call("DELETE", "/api/v1/devices/thermo/3303/0/5700?observe");
    assert.equal(cancelled.json.answer.code, "2.05");
  });

  test("a reader that comes back with Last-Event-ID gets every event after that one, each once, and none before", async () => {
    const read = async (count: number, headers: Record<string, string> = {}): Promise<number[]> => {
      const stop = new AbortController();
      const { body } = await fetch(`${url}/api/v1/events`, {
        headers: { authorization: `Bearer ${PASSWORD}`, ...headers },
        signal: stop.signal,
      });
      setTimeout(() => stop.abort(), 300); // or the stream ends when there is enough
      let text = "";
      const ids = (): number[] => [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
      try {
        for await (const chunk of body!) {
          text += new TextDecoder().decode(chunk);
          if (ids().length > count) break; // one more than there should be
        }
      } catch (fault) {
        if (!stop.signal.aborted) throw fault;
      }
      stop.abort();
      return ids();
    };
    const reading = read(1_000);
    await new Promise((done) => setTimeout(done, 50));
    for (let n = 0; n < 3; n++) await call("GET", "/api/v1/devices/thermo/3303/0/5701");
    const all = await reading;
    assert.ok(all.length >= 6, all.join(" "));
    for (const at of [0, 1, all.length - 2, all.length - 1]) {
      const after = all.slice(at + 1);
      const seen = { "last-event-id": String(all[at]) };
      assert.deepEqual(await read(after.length, seen), after, `after ${at} of ${all.length}`);
    }
    assert.deepEqual((await read(all.length, { "last-event-id": String(all[0]! - 1) }))[0], all[0]);
  });

  test("an observation is shown with its state and the reason for it, over the life of what it observes", async () => {
    const shown = async (): Promise<readonly unknown[]> => {
      const { json } = await call("GET", "/api/v1/devices/thermo");
      return json.observations.map(({ path, state, reason }: Record<string, string>) => [
        path,
        state,
        reason,
      ]);
    };
    device.add(3303, { 5700: 1 }, 7);
    assert.equal((await call("POST", "/api/v1/devices/thermo/3303/7/5700?observe")).status, 200);
    assert.deepEqual(await shown(), [["/3303/7/5700", "active", "the device observes it"]]);
    const { json } = await call("GET", "/api/v1/devices/thermo");
    const [{ heardAt, dueBy }] = json.observations;
    assert.equal(dueBy - heardAt, 24 * 3_600_000, "no pmax is known");
    const changed = (state: string): Promise<void> =>
      new Promise((done) => {
        const stop = server.on("observation", (event) => {
          if (event.path !== "/3303/7/5700" || event.state !== state) return;
          stop();
          done();
        });
      });
    const refused = changed("refused");
    device.remove(3303, 7);
    device.changed("/3303/7/5700");
    await refused;
    assert.deepEqual(await shown(), [
      ["/3303/7/5700", "refused", "the device answered 4.04 NotFound"],
    ]);
    const active = changed("active");
    device.add(3303, { 5700: 2 }, 7);
    await active;
    assert.deepEqual(await shown(), [["/3303/7/5700", "active", "the device observes it"]]);
    await call("DELETE", "/api/v1/devices/thermo/3303/7/5700?observe");
    assert.deepEqual(await shown(), []);
    device.remove(3303, 7);
  });

  test("a loop over readings ends with an error that carries the code when the device ends the observation", async () => {
    device.add(3303, { 5700: 1 }, 8);
    const seen: unknown[] = [];
    const loop = async (): Promise<void> => {
      for await (const { value } of server.device("thermo").observe("/3303/8/5700")) {
        seen.push(value);
        device.remove(3303, 8);
        device.changed("/3303/8/5700");
      }
    };
    await assert.rejects(loop(), { name: "DeviceError", code: "DEVICE_REFUSED", coapCode: "4.04" });
    assert.deepEqual(seen, [1]);
    assert.deepEqual(server.deviceView("thermo")?.observations, []);
  });

  test("RFC 7641 2: who asks to observe is told where the device answers without observing, by REST and in a loop", async () => {
    const shy = new Device({
      endpoint: "shy",
      server: `coap://${server.addresses[0]}`,
      lifetime: 300,
      tuning: { maxObservations: 0 },
    });
    shy.add(3303, { 5700: 1 });
    const registered = new Promise<void>((done) => shy.on("registered", () => done()));
    await shy.start();
    await registered;
    const { status, json } = await call("POST", "/api/v1/devices/shy/3303/0/5700?observe");
    assert.equal(status, 502);
    assert.match(json.detail, /2\.05, and does not observe \/3303\/0\/5700.*RFC 7641 2/);
    const loop = server.device("shy").observe("/3303/0/5700");
    await assert.rejects(loop.next(), { name: "DeviceError", code: "NOT_OBSERVED" });
    assert.deepEqual(server.deviceView("shy")?.observations, []);
    await shy.stop();
  });

  const refusals = [
    {
      what: "an unknown device",
      method: "GET",
      path: "/api/v1/devices/nobody/3/0/0",
      status: 404,
      says: "nobody",
    },
    {
      what: "a path that is none",
      method: "GET",
      path: "/api/v1/devices/thermo/three",
      status: 400,
      says: "three",
    },
    {
      what: "what the device does not have",
      method: "GET",
      path: "/api/v1/devices/thermo/3303/9/0",
      status: 502,
      says: "3303",
    },
    {
      what: "a value of the wrong type",
      method: "PUT",
      path: "/api/v1/devices/thermo/1/0/1",
      body: { value: "soon" },
      status: 400,
      says: "integer",
    },
    {
      what: "a body without a value",
      method: "PUT",
      path: "/api/v1/devices/thermo/1/0/1",
      body: {},
      status: 400,
      says: "value",
    },
    {
      what: "a value with nothing in it",
      method: "PUT",
      path: "/api/v1/devices/thermo/1/0/1",
      body: { value: {} },
      status: 400,
      says: "at least one value",
    },
    {
      what: "an attribute that is none",
      method: "PUT",
      path: "/api/v1/devices/thermo/3303/0/5700?attributes=pmin=abc",
      status: 400,
      says: 'pmin "abc"',
    },
    {
      what: "an instance that no object may have",
      method: "POST",
      path: "/api/v1/devices/thermo/3303",
      body: { instance: 65_535, values: { 5700: 1 } },
      status: 400,
      says: "instance",
    },
    {
      what: "a method that is not possible",
      method: "PUT",
      path: "/api/v1/devices",
      status: 405,
      says: "use GET",
    },
    {
      what: "a method that is not possible at a device",
      method: "POST",
      path: "/api/v1/devices/thermo",
      status: 405,
      says: "use DELETE or GET",
    },
    {
      what: "a method that is not possible on the page",
      method: "DELETE",
      path: "/index.html",
      status: 404,
      says: "nothing here",
    },
    {
      what: "a wait that is none",
      method: "GET",
      path: "/api/v1/devices/thermo/3/0/0?wait=x",
      status: 400,
      says: "wait",
    },
    ...[
      ["/api/v1/devices?state=unreachable", '"state" here; there are: limit, cursor, q'],
      ["/api/v1/devices?limit=0", '"limit": write a number from 1 to 1000'],
      ["/api/v1/devices?limit=0x10", '"limit": write a number'],
      ["/api/v1/devices?limit=5&limit=6", '"limit": write a number'],
      ["/api/v1/devices/thermo?wiat=1", '"wiat" here, and no other'],
      ["/api/v1/devices/thermo/3/0/0?wiat=1", '"wiat" here; there are: wait, expires, discover'],
      ["/api/v1/devices/thermo/3/0/0?observe", '"observe" here'],
      ["/api/v1/devices/thermo/3/0/0?discover=no", '"discover": write it without a value'],
      ["/api/v1/devices/thermo/3/0/0?expires=soon", '"expires": write a number from 1'],
      ["/api/v1/devices/thermo/tasks?state=done", '"state" here'],
      ["/api/v1/credentials?kind=psk", '"kind" here; there are: endpoint'],
      ["/api/v1/server-key?hex", '"hex" here'],
      ["/api/v1/events?since=1", '"since" here'],
      ["/api/v1/simulation?x", '"x" here'],
      ["/api/v1/tasks/1?wait=1", '"wait" here'],
      ["/metrics?name=x", '"name" here'],
      ["/livez?verbose", '"verbose" here'],
    ].map(([path = "", says = ""]) => {
      return {
        what: `what is wrong with ${path}`,
        method: "GET",
        path,
        status: 400,
        says,
      } as const;
    }),
    {
      what: "a field of a value that there is not",
      method: "PUT",
      path: "/api/v1/devices/thermo/1/0/1",
      body: { value: 600, unit: "s" },
      status: 400,
      says: '"unit"',
    },
    {
      what: "an argument of execute that there is not",
      method: "POST",
      path: "/api/v1/devices/thermo/3303/0/5605",
      body: { arguments: "0" },
      status: 400,
      says: '"arguments"',
    },
    {
      what: "an unknown task",
      method: "GET",
      path: "/api/v1/tasks/77",
      status: 404,
      says: "never",
    },
    {
      what: "an address nobody has",
      method: "GET",
      path: "/api/v2/devices",
      status: 404,
      says: "/api/v1",
    },
  ] as const;

  for (const { what, method, path, status, says, ...more } of refusals) {
    test(`a problem names ${what}`, async () => {
      const answer = await call(method, path, "body" in more ? more.body : undefined);
      assert.equal(answer.status, status);
      assert.match(answer.headers.get("content-type") ?? "", /application\/problem\+json/);
      assert.match(`${answer.json.title} ${answer.json.detail}`, new RegExp(says));
    });
  }

  const psk = { kind: "psk", endpoint: "safe", identity: "safe-1", key: "00".repeat(15) + "5a" };

  test("a credential goes in, is listed without its secret, bars NoSec, and is removed", async () => {
    const added = await call("POST", "/api/v1/credentials", psk);
    assert.equal(added.status, 201);
    const expected = { id: "psk:safe-1", kind: "psk", endpoint: "safe", subject: "safe-1" };
    assert.deepEqual(added.json, expected);
    const { json } = await call("GET", "/api/v1/credentials?endpoint=safe");
    assert.deepEqual(json.items, [expected]);
    const refused = new Device({ endpoint: "safe", server: `coap://${server.addresses[0]}` });
    const code = new Promise((done) => refused.on("refused", (event) => done(event.code)));
    await refused.start();
    assert.equal(await code, 0x83);
    await refused.stop({ deregister: false });
    assert.equal((await call("DELETE", "/api/v1/credentials/psk%3Asafe-1")).status, 204);
    assert.equal((await call("DELETE", "/api/v1/credentials/psk%3Asafe-1")).status, 404);
  });

  const oscore = {
    kind: "oscore",
    endpoint: "kept-apart",
    senderId: "0a0a",
    recipientId: "0b0b",
    masterSecret: "00112233445566778899aabbccddeeff",
  };
  const noCredentials = [
    { what: "a key that is no hex", body: { ...psk, key: "xyz" }, says: "hex" },
    { what: "a short key", body: { ...psk, key: "00" }, says: "PSK has 1 bytes" },
    { what: "an unknown kind", body: { ...psk, kind: "password" }, says: "kind" },
    { what: "a field too many", body: { ...psk, note: "x" }, says: "note" },
    { what: "no endpoint", body: { ...psk, endpoint: undefined }, says: "endpoint" },
    { what: "half a surrogate pair", body: { ...psk, identity: "\ud800" }, says: "surrogate" },
    {
      what: "an endpoint of half a pair",
      body: { ...psk, endpoint: "a\udfff" },
      says: "surrogate",
    },
    { what: "an AEAD that is none", body: { ...oscore, aead: 99 }, says: "no AEAD algorithm: 99" },
    {
      what: "ids too long for its AEAD",
      body: { ...oscore, aead: 12 },
      says: "ids for .* have at most 1 bytes",
    },
  ];
  for (const { what, body, says } of noCredentials) {
    test(`a credential with ${what} is refused by name, without repeating it`, async () => {
      const answer = await call("POST", "/api/v1/credentials", body);
      assert.equal(answer.status, 400);
      assert.match(JSON.stringify(answer.json), new RegExp(says));
      assert.doesNotMatch(JSON.stringify(answer.json), /005a/);
    });
  }

  const rpk = { kind: "rpk", endpoint: "bare" };
  const x509 = { kind: "x509", endpoint: "certified" };
  const keys = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const spki = keys.publicKey.export({ format: "der", type: "spki" });
  const publicPem = keys.publicKey.export({ format: "pem", type: "spki" });
  const privatePem = keys.privateKey.export({ format: "pem", type: "pkcs8" });
  const vectors = new URL(
    "../../../packages/dtls/src/vectors/certificate-faults.json",
    import.meta.url,
  );
  const { certificates } = JSON.parse(readFileSync(vectors, "utf8")) as {
    certificates: Record<"sans" | "inter" | "rsa", string>;
  };
  const { sans, inter, rsa } = certificates;
  const pemOf = (der: string): string => new X509Certificate(Buffer.from(der, "hex")).toString();
  const digits = createHash("sha256").update(Buffer.from(sans, "hex")).digest("hex");

  const provable = [
    {
      how: "a public key in PEM",
      body: { ...rpk, publicKey: publicPem },
      id: `rpk:${spki.toString("hex")}`,
    },
    {
      how: "a public key in base64",
      body: { ...rpk, publicKey: spki.toString("base64") },
      id: `rpk:${spki.toString("hex")}`,
    },
    {
      how: "a public key in hex",
      body: { ...rpk, publicKey: spki.toString("hex") },
      id: `rpk:${spki.toString("hex")}`,
    },
    { how: "nothing but the endpoint", body: x509, id: "x509:certified" },
    { how: "a name", body: { ...x509, name: "urn:dev:1" }, id: "x509:urn:dev:1" },
    {
      how: "a certificate with its issuer, in PEM",
      body: { ...x509, certificate: pemOf(sans) + pemOf(inter) },
      id: `x509:sha256:${digits}`,
    },
    {
      how: "a certificate in hex",
      body: { ...x509, certificate: sans },
      id: `x509:sha256:${digits}`,
    },
    {
      how: "a fingerprint as OpenSSL prints it",
      body: {
        ...x509,
        fingerprint: `sha256 Fingerprint=${digits.toUpperCase().replace(/(..)(?=.)/g, "$1:")}`,
      },
      id: `x509:sha256:${digits}`,
    },
  ];
  for (const { how, body, id } of provable) {
    test(`a credential of kind ${body.kind} by ${how} is listed by its public part, and removed`, async () => {
      const added = await call("POST", "/api/v1/credentials", body);
      assert.deepEqual(added.json?.id, id, JSON.stringify(added.json));
      const { json } = await call("GET", `/api/v1/credentials?endpoint=${body.endpoint}`);
      assert.deepEqual(
        json.items.map((one: { id: string }) => one.id),
        [id],
      );
      const gone = await call("DELETE", `/api/v1/credentials/${encodeURIComponent(id)}`);
      assert.equal(gone.status, 204);
    });
  }

  const unprovable = [
    { what: "no public key", body: rpk, says: /publicKey/ },
    { what: "an empty public key", body: { ...rpk, publicKey: "" }, says: /publicKey is empty/ },
    {
      what: "a private key in place of the public one",
      body: { ...rpk, publicKey: privatePem },
      says: /stays with its owner/,
    },
    {
      what: "a certificate in place of the public key",
      body: { ...rpk, publicKey: pemOf(sans) },
      says: /-pubkey/,
    },
    {
      what: "a public key that is cut off",
      body: { ...rpk, publicKey: spki.toString("hex").slice(0, 40) },
      says: /not a SubjectPublicKeyInfo/,
    },
    {
      what: "words for a public key",
      body: { ...rpk, publicKey: "key of the lamp!" },
      says: /not PEM, base64 or hex/,
    },
    {
      what: "an RSA certificate",
      body: { ...x509, certificate: rsa },
      says: /not a P-256 key, but RSA/,
    },
    {
      what: "a key in place of the certificate",
      body: { ...x509, certificate: privatePem },
      says: /a certificate is wanted/,
    },
    { what: "a short fingerprint", body: { ...x509, fingerprint: "aa:bb" }, says: /64 hex digits/ },
    {
      what: "a name and a fingerprint",
      body: { ...x509, name: "x", fingerprint: digits },
      says: /one of name, certificate and fingerprint/,
    },
    {
      what: "a name that looks like a fingerprint",
      body: { ...x509, name: `sha256:${digits}` },
      says: /give it as fingerprint/,
    },
    { what: "a field of old", body: { ...x509, commonName: "x" }, says: /commonName/ },
  ];
  for (const { what, body, says } of unprovable) {
    test(`a credential of kind ${body.kind} with ${what} is refused by name, without repeating it`, async () => {
      const answer = await call("POST", "/api/v1/credentials", body);
      assert.equal(answer.status, 400);
      assert.match(JSON.stringify(answer.json), says);
      const secret = String(privatePem).split("\n")[1] ?? "-";
      assert.ok(!JSON.stringify(answer.json).includes(secret));
      const { json } = await call("GET", `/api/v1/credentials?endpoint=${body.endpoint}`);
      assert.deepEqual(json.items, []);
    });
  }

  test("a server without DTLS has no key to show, and says what switches it on", async () => {
    const { status, json } = await call("GET", "/api/v1/server-key");
    assert.equal(status, 404);
    assert.match(json.detail, /--coaps/);
  });

  test("a device's own refusal carries its CoAP code", async () => {
    const { json } = await call("POST", "/api/v1/devices/thermo/3303/0/5700");
    assert.equal(json.coap_code, "4.05");
  });

  const routes = [
    "/api/v1/credentials",
    "/api/v1/server-key",
    "/api/v1/devices",
    "/api/v1/devices/thermo",
    "/api/v1/devices/thermo/3/0/0",
    "/api/v1/tasks/1",
    "/api/v1/events",
    "/api/v1/simulation",
    "/metrics",
  ];
  for (const route of routes) {
    test(`nobody gets ${route} without the password`, async () => {
      assert.equal((await fetch(`${url}${route}`)).status, 401);
      const wrong = await fetch(`${url}${route}`, { headers: { authorization: "Bearer wrong" } });
      assert.equal(wrong.status, 401);
    });
  }

  test("the page asks for the password and then goes by a cookie that no other site can send", async () => {
    const page = await fetch(url, { headers: { accept: "text/html" }, redirect: "manual" });
    assert.equal(page.headers.get("location"), "/login.html");
    const login = (password: string): Promise<Response> =>
      fetch(`${url}/login`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ password }),
      });
    assert.equal((await login("nonsense")).status, 401);
    const good = await login(PASSWORD);
    const cookie = good.headers.get("set-cookie") ?? "";
    assert.match(cookie, /HttpOnly; SameSite=Strict/);
    const session = cookie.split(";")[0]!;
    assert.equal(
      (await fetch(`${url}/api/v1/devices`, { headers: { cookie: session } })).status,
      200,
    );
    const out = { method: "POST", headers: { cookie: session, origin: url } };
    assert.equal((await fetch(`${url}/logout`, out)).status, 204);
    assert.equal(
      (await fetch(`${url}/api/v1/devices`, { headers: { cookie: session } })).status,
      401,
    );
  });

  test("every answer forbids what a page of ours never does", async () => {
    const answer = await fetch(`${url}/login.html`);
    assert.match(answer.headers.get("content-security-policy") ?? "", /default-src 'none'/);
    assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
  });

  test("metrics count without naming devices, and count what belongs to none", async () => {
    const stray = createSocket("udp4");
    const [host, port] = String(server.addresses[0]).split(":");
    stray.send(Uint8Array.of(0x60, 0x45, 0, 1), Number(port), host); // an ACK with an answer to nothing
    while (Object.keys(server.strays).length === 0)
      await new Promise((done) => setTimeout(done, 10));
    stray.close();
    const answer = await fetch(`${url}/metrics`, {
      headers: { authorization: `Bearer ${PASSWORD}` },
    });
    const text = await answer.text();
    assert.match(text, /godwit_registrations 2/);
    assert.match(text, /godwit_strays\{reason="\w+"\} 1/);
    assert.doesNotMatch(text, /thermo|sleeper/);
  });

  test("an open platform answers to a loopback name only", async () => {
    const open = await createPlatform({ server, auth: { kind: "open" } });
    const address = new URL(await open.listen("127.0.0.1", 0));
    assert.equal((await fetch(address)).status, 200);
    const { request } = await import("node:http");
    const status = await new Promise((done) => {
      request(
        {
          port: address.port,
          host: "127.0.0.1",
          path: "/api/v1/devices",
          headers: { host: "evil.example" },
        },
        (answer) => done(answer.statusCode),
      ).end();
    });
    assert.equal(status, 403);
    await open.close();
  });
});
