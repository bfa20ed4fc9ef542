import assert from "node:assert/strict";
import { test } from "node:test";
import {
  EMPTY,
  Outbox,
  earlier,
  type DatagramEvent,
  type Instant,
  type Machine,
  type Path,
} from "@godwit/base";
import {
  ACK,
  CON,
  Code,
  OptionNumber,
  RST,
  decodeMessage,
  encodeMessage,
  findOption,
  isRequest,
  request,
  type Message,
  type Request,
} from "@godwit/coap";
import { DtlsClient, type DtlsOutput } from "@godwit/dtls";
import { World } from "@godwit/netsim";
import { KEY, TestServer } from "./kit.test.ts";

// Devices that do with an Echo what Leshan and Californium do: nothing. After a kill -9 of the server they must be served again.

type Said = { readonly at: Instant; readonly code: number; readonly echo: boolean };
type Input =
  | DatagramEvent
  | { readonly type: "say"; readonly request: Request; readonly path: Path };

/** A device over DTLS with a Connection ID, as one of Leshan's: one CON at a time, and no Echo. */
class EcholessDevice implements Machine<Input, DtlsOutput> {
  readonly said: Said[] = [];
  location: string | undefined;
  handshakes = 0;
  /** What it does with requests of the server. */
  answers: "4.04" | "reset" | "nothing" = "4.04";
  readonly #dtls: DtlsClient;
  readonly #outbox = new Outbox<DtlsOutput>();
  #path: Path | undefined;
  #now: Instant = 0;
  #mid = 1_000;
  #waiting:
    | { bytes: Uint8Array; mid: number; due: Instant; timeout: number; tries: number }
    | undefined;

  constructor(rng: ReturnType<World["rng"]>) {
    this.#dtls = new DtlsClient({
      rng,
      credentials: { kind: "psk", identity: "dev01", key: KEY },
      connectionId: EMPTY,
    });
  }

  get wakeAt(): Instant | undefined {
    return earlier(this.#waiting?.due, this.#dtls.wakeAt);
  }

  get busy(): boolean {
    return this.#waiting !== undefined;
  }

  handle(input: Input, now: Instant): void {
    this.#now = now;
    if (input.type === "say") {
      this.#path = input.path;
      const mid = ++this.#mid;
      const token = Uint8Array.of(mid >>> 8, mid, 1, 2, 3, 4, 5, 6);
      const bytes = encodeMessage({ type: CON, mid, token, ...input.request });
      this.#waiting = { bytes, mid, due: now + 2_000, timeout: 2_000, tries: 0 };
      this.#send(bytes);
    } else this.#dtls.handle(input, now);
    this.#drain();
  }

  wake(now: Instant): void {
    this.#now = now;
    this.#dtls.wake(now);
    const waiting = this.#waiting;
    if (waiting !== undefined && waiting.due <= now) {
      if (++waiting.tries > 4) this.#waiting = undefined;
      else {
        waiting.timeout *= 2;
        waiting.due = now + waiting.timeout;
        this.#send(waiting.bytes);
      }
    }
    this.#drain();
  }

  poll(): DtlsOutput | undefined {
    return this.#outbox.take();
  }

  #send(bytes: Uint8Array): void {
    if (this.#dtls.connected) this.#dtls.handle({ type: "send", session: 1, bytes }, this.#now);
    else if (this.#path !== undefined) {
      this.handshakes += 1;
      const { path } = { path: this.#path };
      this.#dtls.handle({ type: "connect", session: 1, path, how: "full" }, this.#now);
    }
  }

  #drain(): void {
    for (let o = this.#dtls.poll(); o !== undefined; o = this.#dtls.poll()) {
      if (o.type === "datagram") this.#outbox.push(o);
      else if (o.type === "received") this.#received(decodeMessage(o.bytes));
      else if ((o.type === "opened" || o.type === "closed") && this.#waiting !== undefined) {
        this.#send(this.#waiting.bytes);
      }
    }
  }

  #received(message: Message): void {
    const { type, mid, code, token } = message;
    if (code === 0 && type === CON) return this.#send(Uint8Array.of(0x70, 0, mid >>> 8, mid));
    if (isRequest(code)) {
      if (this.answers === "nothing") return undefined;
      if (this.answers === "reset")
        return this.#send(Uint8Array.of(0x40 | (RST << 4), 0, mid >>> 8, mid));
      const answer: Message = {
        type: ACK,
        mid,
        token,
        code: Code.NotFound,
        options: [],
        payload: EMPTY,
      };
      return this.#send(encodeMessage(answer));
    }
    if (type !== ACK || mid !== this.#waiting?.mid) return undefined;
    this.#waiting = undefined;
    const echo = findOption(message.options, OptionNumber.Echo) !== undefined;
    this.said.push({ at: this.#now, code, echo });
    const location = message.options.filter(({ number }) => number === OptionNumber.LocationPath);
    if (code === Code.Created) {
      this.location = location.map(({ value }) => `/${new TextDecoder().decode(value)}`).join("");
    }
    return undefined;
  }
}

const REGISTER = request(Code.POST, {
  path: "/rd",
  query: ["ep=dev01", "lt=86400", "lwm2m=1.1", "b=U"],
  contentFormat: 40,
  payload: "</1/0>,</3/0>",
});

function world(behindNat = true) {
  const made = new World({ seed: 11 });
  const server = new TestServer(made);
  server.addCredential({ kind: "psk", endpoint: "dev01", identity: "dev01", key: KEY });
  made.run("1 s");
  const host = behindNat
    ? made.host("device", { behind: made.nat("linux-random") })
    : made.host("device");
  const device = new EcholessDevice(made.rng("device"));
  const node = host.attach<Input, DtlsOutput>(7_000, device);
  /** Says something and waits for its answer; how it was answered. */
  const say = (what: Request, most = 100): number | undefined => {
    const before = device.said.length;
    node.feed({ type: "say", request: what, path: node.path(server.secureAddress) });
    for (let s = 0; s < most && device.busy; s++) made.run("1 s");
    return device.said[before]?.code;
  };
  assert.equal(say(REGISTER), Code.Created);
  return { world: made, server, device, say, host };
}

const update = (device: EcholessDevice): Request =>
  request(Code.POST, { path: device.location ?? "/rd/none" });
const withLifetime = (device: EcholessDevice): Request =>
  request(Code.POST, { path: device.location ?? "/rd/none", query: ["lt=7200"] });

for (const [where, gap] of [
  ["where it was", "5 s"],
  ["behind a NAT that has moved it", "31 minutes"],
] as const) {
  for (const answers of ["4.04", "reset", "nothing"] as const) {
    for (const [what, first] of [
      ["a bare Update", update],
      ["an Update that says more", withLifetime],
    ] as const) {
      test(`DTLS with Connection ID: after kill -9 of the server a device without Echo that answers requests by ${answers} and begins with ${what}, ${where}, is served within a minute`, () => {
        const { world: made, server, device, say } = world();
        made.run(gap);
        server.crash("2 s");
        made.run("3 s");
        device.answers = answers;
        device.said.length = 0;
        const began = made.now;
        // As Leshan does: the Update is refused, so it registers, and again after a while.
        let code = say(first(device));
        while (code !== Code.Changed && code !== Code.Created && made.now - began < 90_000) {
          code = say(REGISTER);
        }
        const refusals = device.said.filter(({ code: one }) => one === Code.Unauthorized).length;
        assert.ok(code === Code.Created || code === Code.Changed, `${code}`);
        assert.ok(made.now - began <= 60_000, `${made.now - began} ms`);
        assert.ok(refusals <= 3, `${refusals} refusals`);
        assert.ok(device.handshakes <= 2);
        if (answers === "4.04") assert.equal(device.handshakes, 1, "no new handshake is needed");
        // And from then on as ever, through a second restart, too.
        // A bare Update is obeyed while it is in doubt, what says more is not.
        code = say(withLifetime(device));
        for (let i = 0; i < 3 && code === Code.Unauthorized; i++) code = say(withLifetime(device));
        assert.equal(code, Code.Changed);
        server.crash("2 s");
        made.run("3 s");
        const again = made.now;
        code = say(withLifetime(device));
        while (code !== Code.Changed && code !== Code.Created && made.now - again < 90_000) {
          code = say(REGISTER);
        }
        assert.ok(made.now - again <= 60_000, `${made.now - again} ms`);
        assert.equal(server.stack.server.registrationCount, 1);
      });
    }
  }
}

test("DTLS: a replay after kill -9 is obeyed in no case: not from where the device is, not after an order of the server, not after a proof", () => {
  for (const from of ["device", "elsewhere"] as const) {
    for (const ordered of [false, true]) {
      const { world: made, server, device, say, host } = world(false);
      const recorded: Uint8Array[] = [];
      host.link.up.tap(({ bytes }) => {
        recorded.push(new Uint8Array(bytes));
        return "pass";
      });
      const remove = request(Code.DELETE, { path: device.location ?? "" });
      assert.equal(say(remove), Code.Deleted);
      assert.equal(say(REGISTER), Code.Created);
      const registration = server.stack.server.registration("dev01", made.now);
      assert.ok(registration);
      server.crash("2 s");
      made.run("3 s");
      device.answers = "nothing";
      if (ordered) {
        // An order of the server's own is the first word in the session.
        server.read(
          { endpoint: "dev01" } as Parameters<TestServer["read"]>[0],
          "/3/0/0",
          "1 minute",
        );
        made.run("1 s");
      }
      const thief = made.host("thief");
      const at =
        from === "device" ? { host: host.address, port: 7_000 } : { host: thief.address, port: 9 };
      host.off(); // it neither answers nor sends
      for (let round = 0; round < 20; round++) {
        for (const bytes of recorded) thief.inject({ from: at, to: server.secureAddress, bytes });
        made.run("7 s");
      }
      const after = server.stack.server.registration("dev01", made.now);
      assert.equal(after?.id, registration.id, `${from}, ordered ${ordered}`);
      assert.equal(after?.registeredAt, registration.registeredAt);
      host.on();
      device.answers = "4.04";
      let code = say(withLifetime(device));
      for (let i = 0; i < 5 && code !== Code.Created && code !== Code.Changed; i++)
        code = say(REGISTER);
      assert.ok(code === Code.Created || code === Code.Changed, "the device itself comes back");
    }
  }
});

test("DTLS: close_notify to an address that was not proven does not end the session of the device", () => {
  const { world: made, server, device, say, host } = world(false);
  const recorded: Uint8Array[] = [];
  host.link.up.tap(({ bytes }) => {
    recorded.push(new Uint8Array(bytes));
    return "pass";
  });
  for (let i = 0; i < 6; i++) assert.equal(say(withLifetime(device)), Code.Changed);
  server.crash("2 s");
  made.run("3 s");
  const thief = made.host("thief");
  const from = { host: thief.address, port: 9 };
  for (const bytes of recorded) {
    thief.inject({ from, to: server.secureAddress, bytes });
    made.run("6 s");
  }
  const { handshakes } = device;
  let code = say(update(device));
  for (let i = 0; i < 5 && code !== Code.Created && code !== Code.Changed; i++)
    code = say(REGISTER);
  assert.ok(code === Code.Created || code === Code.Changed);
  assert.equal(device.handshakes, handshakes, "its session goes on");
});
