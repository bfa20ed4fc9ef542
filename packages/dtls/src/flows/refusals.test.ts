import assert from "node:assert/strict";
import { test } from "node:test";
import { concat, seededRng } from "@godwit/base";
import { DtlsClient, type DtlsClientOptions } from "../client.ts";
import { Alert, ContentType, HandshakeType } from "../codes.ts";
import {
  type ClientHello,
  decodeClientHello,
  encodeClientHello,
} from "../handshake/client-hello.ts";
import {
  connectionId,
  flag,
  hasFlag,
  maxFragmentLength,
  recordSizeLimit,
  renegotiationInfo,
  supportedGroups,
} from "../handshake/extensions.ts";
import {
  decodeHelloVerifyRequest,
  encodeHelloVerifyRequest,
} from "../handshake/hello-verify-request.ts";
import { wholeMessage } from "../handshake/header.ts";
import {
  type ServerHello,
  decodeServerHello,
  encodeServerHello,
} from "../handshake/server-hello.ts";
import { plainRecord } from "../record/header.ts";
import { DtlsServer } from "../server.ts";
import type { DtlsServerOptions } from "../server-options.ts";
import { SUITES } from "../suites.ts";
import { exchange } from "./exchange.ts";
import { KEY, SERVER, Wire } from "./wire.ts";

const EMPTY = new Uint8Array(0);
const CLIENT = { host: "192.0.2.7", port: 40_000 };
const EMS = flag(23);

/** What a client says to a server's first flight, made by hand. */
function clientTold(
  messages: readonly (readonly [type: number, body: Uint8Array])[],
  options: Partial<DtlsClientOptions> = {},
): { alert: number | undefined; connected: boolean } {
  const client = new DtlsClient({
    rng: seededRng(1),
    credentials: { kind: "psk", identity: "dev01", key: KEY },
    ...options,
  });
  const path = { local: CLIENT, remote: SERVER };
  client.handle({ type: "connect", session: 1, path, how: "full" }, 0);
  messages.forEach(([type, body], seq) => {
    const bytes = plainRecord(ContentType.handshake, seq, wholeMessage(type, seq, body));
    client.handle({ type: "datagram", path, bytes }, 1);
  });
  let alert: number | undefined;
  for (let output = client.poll(); output; output = client.poll()) {
    if (output.type === "datagram" && output.bytes[0] === ContentType.alert)
      alert = output.bytes[14];
  }
  return { alert, connected: client.connected };
}

function serverHello(over: Partial<ServerHello> = {}): [number, Uint8Array] {
  const hello = {
    version: 0xfefd,
    random: new Uint8Array(32),
    sessionId: EMPTY,
    suite: 0xc0a8,
    compression: 0,
    extensions: [EMS],
    ...over,
  };
  return [HandshakeType.serverHello, encodeServerHello(hello)];
}

const DONE: [number, Uint8Array] = [HandshakeType.serverHelloDone, EMPTY];
const HVR: [number, Uint8Array] = [
  HandshakeType.helloVerifyRequest,
  encodeHelloVerifyRequest(new Uint8Array(8)),
];

for (const [what, messages, alert, options] of [
  ["nothing wrong", [serverHello(), DONE], undefined, {}],
  ["another version", [serverHello({ version: 0xfeff })], Alert.protocolVersion, {}],
  ["a suite not offered", [serverHello({ suite: 0xc0a4 })], Alert.illegalParameter, {}],
  ["an unknown suite", [serverHello({ suite: 0x1301 })], Alert.illegalParameter, {}],
  ["a compression", [serverHello({ compression: 1 })], Alert.illegalParameter, {}],
  ["no extended master secret", [serverHello({ extensions: [] })], Alert.handshakeFailure, {}],
  [
    "an extension not offered",
    [serverHello({ extensions: [EMS, renegotiationInfo.write()] })],
    Alert.unsupportedExtension,
    {},
  ],
  [
    "a connection id not offered",
    [serverHello({ extensions: [EMS, connectionId.write(Uint8Array.of(1))] })],
    Alert.unsupportedExtension,
    {},
  ],
  [
    "both limits",
    [serverHello({ extensions: [EMS, recordSizeLimit.write(512), maxFragmentLength.write(512)] })],
    Alert.illegalParameter,
    { tuning: { recordSizeLimit: 512, maxFragmentLength: 512 } },
  ],
  [
    "another fragment length",
    [serverHello({ extensions: [EMS, maxFragmentLength.write(1_024)] })],
    Alert.illegalParameter,
    { tuning: { maxFragmentLength: 512 } },
  ],
  [
    "a record size limit of 63",
    [serverHello({ extensions: [EMS, recordSizeLimit.write(63)] })],
    Alert.decodeError,
    { tuning: { recordSizeLimit: 512 } },
  ],
  ["an extension twice", [serverHello({ extensions: [EMS, EMS] })], Alert.decodeError, {}],
  ["ServerHelloDone first", [DONE], Alert.unexpectedMessage, {}],
  ["ServerHello twice", [serverHello(), serverHello()], Alert.unexpectedMessage, {}],
  ["a hello of its own", [[HandshakeType.clientHello, EMPTY]], Alert.unexpectedMessage, {}],
  [
    "a certificate in a PSK suite",
    [serverHello(), [HandshakeType.certificate, Uint8Array.of(0, 0, 0)]],
    Alert.unexpectedMessage,
    {},
  ],
  [
    "CertificateRequest in a PSK suite",
    [serverHello(), [HandshakeType.certificateRequest, EMPTY]],
    Alert.unexpectedMessage,
    {},
  ],
  ["HelloVerifyRequest after ServerHello", [serverHello(), HVR], Alert.unexpectedMessage, {}],
  ["the cookie demand twice", [HVR, HVR, serverHello(), DONE], undefined, {}],
  ["the cookie demand without end", [HVR, HVR, HVR, HVR], Alert.unexpectedMessage, {}],
  [
    "Finished in the clear",
    [serverHello(), [HandshakeType.finished, new Uint8Array(12)]],
    Alert.unexpectedMessage,
    {},
  ],
  [
    "no ServerKeyExchange in an ECDHE suite",
    [serverHello({ suite: 0xd003 }), DONE],
    Alert.unexpectedMessage,
    { suites: SUITES.filter(({ id }) => id === 0xd003) },
  ],
  [
    "a group not offered",
    [
      serverHello({ suite: 0xd003 }),
      [HandshakeType.serverKeyExchange, Uint8Array.of(0, 0, 3, 0, 24, 1, 4)],
    ],
    Alert.illegalParameter,
    { suites: SUITES.filter(({ id }) => id === 0xd003) },
  ],
  [
    "a point off the curve",
    [
      serverHello({ suite: 0xd003 }),
      [
        HandshakeType.serverKeyExchange,
        concat(Uint8Array.of(0, 0, 3, 0, 23, 65, 4), new Uint8Array(64).fill(1)),
      ],
      DONE,
    ],
    Alert.decodeError,
    { suites: SUITES.filter(({ id }) => id === 0xd003) },
  ],
  [
    "an X25519 key of small order",
    [
      serverHello({ suite: 0xd003 }),
      [
        HandshakeType.serverKeyExchange,
        concat(Uint8Array.of(0, 0, 3, 0, 29, 32), new Uint8Array(32)),
      ],
      DONE,
    ],
    Alert.decodeError,
    { suites: SUITES.filter(({ id }) => id === 0xd003) },
  ],
  [
    "CBC without encrypt-then-MAC",
    [serverHello({ suite: 0x00ae })],
    Alert.handshakeFailure,
    { suites: SUITES.filter(({ id }) => id === 0x00ae) },
  ],
] as const) {
  test(`RFC 5246 7.4: a client told ${what} ${alert === undefined ? "goes on" : `says ${alert}`}`, () => {
    const outcome = clientTold(
      messages.map(([type, body]) => [type, body]),
      options,
    );
    assert.deepEqual(outcome, { alert, connected: false });
  });
}

/** The server's answer to a hello that shows its cookie. */
function serverTold(
  over: Partial<ClientHello>,
  options: Partial<DtlsServerOptions> = {},
): { alert: number | undefined; hello: ServerHello | undefined } {
  const server = new DtlsServer({
    rng: seededRng(1),
    credentials: { psk: true, certificates: [], clientCertificates: [] },
    ...options,
  });
  const path = { local: SERVER, remote: CLIENT };
  const send = (cookie: Uint8Array, seq: number): Uint8Array => {
    const body = encodeClientHello({
      version: 0xfefd,
      random: new Uint8Array(32),
      sessionId: EMPTY,
      cookie,
      suites: [0xc0a8],
      compression: Uint8Array.of(0),
      extensions: [EMS],
      ...over,
    });
    const bytes = plainRecord(ContentType.handshake, seq, wholeMessage(1, seq, body));
    server.handle({ type: "datagram", path, bytes }, 0);
    const output = server.poll();
    return output?.type === "datagram" ? output.bytes : EMPTY;
  };
  const cookie = decodeHelloVerifyRequest(send(EMPTY, 0).subarray(25));
  const answer = send(cookie, 1);
  if (answer[0] === ContentType.alert) return { alert: answer[14], hello: undefined };
  const length = (answer[23]! << 8) | answer[24]!; // a whole flight
  return { alert: undefined, hello: decodeServerHello(answer.subarray(25, 25 + length)) };
}

for (const [what, over, alert] of [
  ["nothing wrong", {}, undefined],
  ["no extended master secret (RFC 7627 5.2)", { extensions: [] }, Alert.handshakeFailure],
  ["no suite in common", { suites: [0xcca8, 0x1301] }, Alert.handshakeFailure],
  ["CBC without encrypt-then-MAC", { suites: [0x00ae] }, Alert.handshakeFailure],
  ["certificates where there are none", { suites: [0xc0ae] }, Alert.handshakeFailure],
  [
    "ECDHE with groups we do not have",
    { suites: [0xd003], extensions: [EMS, supportedGroups.write([24, 25])] },
    Alert.handshakeFailure,
  ],
  [
    "a record size limit below 64",
    { extensions: [EMS, recordSizeLimit.write(63)] },
    Alert.decodeError,
  ],
  ["an extension twice", { extensions: [EMS, EMS] }, Alert.decodeError],
  [
    "renegotiation_info with content",
    { extensions: [EMS, { type: 0xff01, body: Uint8Array.of(1, 1) }] },
    Alert.decodeError,
  ],
  ["a later version", { version: 0xfefc }, undefined],
  ["DTLS 1.0", { version: 0xfeff }, Alert.protocolVersion],
  ["a version that is none of DTLS", { version: 0x0101 }, Alert.protocolVersion],
  ["a version of TLS", { version: 0x0303 }, Alert.protocolVersion],
  ["a version below all", { version: 0 }, Alert.protocolVersion],
] as const) {
  test(`RFC 5246 7.4.1.2: a server told ${what} ${alert === undefined ? "goes on" : `says ${alert}`}`, () => {
    assert.equal(serverTold(over).alert, alert);
  });
}

test("RFC 5746 3.6: renegotiation_info is answered to a client that knows it, by extension or by suite, and to no other", () => {
  const answers = (over: Partial<ClientHello>): boolean =>
    renegotiationInfo.read(serverTold(over).hello?.extensions ?? []);
  assert.equal(answers({}), false);
  assert.equal(answers({ suites: [0xc0a8, 0x00ff] }), true);
  assert.equal(answers({ extensions: [EMS, renegotiationInfo.write()] }), true);
});

test("the server's preference decides among the suites that both have", () => {
  const suites = [0x00a8, 0xc0a4, 0xc0a8];
  assert.equal(serverTold({ suites }).hello?.suite, 0xc0a8);
  const reversed = SUITES.toReversed();
  assert.equal(serverTold({ suites }, { suites: reversed }).hello?.suite, 0x00a8);
});

test("RFC 8449 5: of two limits the record size limit counts, and the other is not answered", () => {
  const extensions = [EMS, recordSizeLimit.write(100), maxFragmentLength.write(512)];
  const { hello } = serverTold({ extensions });
  assert.equal(maxFragmentLength.read(hello?.extensions ?? []), undefined);
  assert.equal(recordSizeLimit.read(hello?.extensions ?? []), 2 ** 14);
  assert.equal(hasFlag(hello?.extensions ?? [], 23), true);
});

for (const [name, tuning, limit] of [
  ["RFC 8449 4: record_size_limit", { recordSizeLimit: 100 }, 100],
  ["RFC 6066 4: max_fragment_length", { maxFragmentLength: 512 }, 512],
] as const) {
  for (const connectionId of [undefined, Uint8Array.of(1)]) {
    test(`${name} is kept by the other side, ${connectionId === undefined ? "without" : "with"} connection id`, () => {
      const wire = new Wire();
      const options = connectionId === undefined ? {} : { connectionId };
      const client = wire.client({ tuning, ...options });
      wire.connect(client);
      exchange(wire, client);
      const most = limit - (connectionId === undefined ? 0 : 1); // the type counts, RFC 8449 4
      const { session } = wire.server;
      for (const length of [most, most + 1]) {
        wire.tell(wire.server, { type: "send", session, bytes: new Uint8Array(length) });
        wire.run(100);
      }
      assert.equal(client.of("received").at(-1)?.bytes.length, most);
      assert.equal(wire.server.machine.ledgerOf(session).snapshot().drops["tooLong"], 1);
    });
  }
}

test("CVE-2022-35409: a cookie longer than its hello is refused without an answer", () => {
  const server = new DtlsServer({
    rng: seededRng(1),
    credentials: { psk: true, certificates: [], clientCertificates: [] },
  });
  const path = { local: SERVER, remote: CLIENT };
  const body = concat(Uint8Array.of(0xfe, 0xfd), new Uint8Array(32), Uint8Array.of(0, 255, 1, 2));
  const bytes = plainRecord(ContentType.handshake, 0, wholeMessage(1, 0, body));
  server.handle({ type: "datagram", path, bytes }, 0);
  assert.equal(server.poll(), undefined);
  assert.equal(server.ledger.snapshot().drops["badHello"], 1);
});

test("any byte of any handshake datagram bent on the way: nothing opens that does not agree, and the next attempt succeeds", () => {
  for (let victim = 0; victim < 6; victim++) {
    for (let at = 0; at < 120; at += 1) {
      const wire = new Wire({ seed: 3 });
      const client = wire.client({ connectionId: EMPTY });
      let n = 0;
      wire.carry = ({ bytes }) => {
        // the copy on the wire is the one that arrives
        if (n++ === victim && at < bytes.length) bytes[at]! ^= 0x01; // within
        return [10];
      };
      wire.connect(client);
      wire.run(20_000);
      wire.carry = () => [10];
      if (client.of("opened").length === 0 || wire.server.of("opened").length === 0) {
        wire.connect(client);
      }
      exchange(wire, client, `byte ${at} of datagram ${victim}`);
    }
  }
});

test("RFC 7627 5.3: a session is not resumed without the extended master secret it was made with", () => {
  const wire = new Wire();
  const client = wire.client();
  wire.connect(client);
  const hello = wire.sent.find(({ from }) => from === "server" && wire.sent.length > 0);
  assert.ok(hello !== undefined);
  const first = wire.sent.filter(({ from }) => from === "server")[1]?.bytes ?? EMPTY;
  const { sessionId } = decodeServerHello(
    first.subarray(25, 25 + ((first[23]! << 8) | first[24]!)),
  ); // a whole flight
  const path = { local: SERVER, remote: { host: "192.0.2.99", port: 1 } };
  const strip = (cookie: Uint8Array, seq: number): Uint8Array => {
    const body = encodeClientHello({
      ...decodeClientHello(wire.sent[0]?.bytes.subarray(25) ?? EMPTY),
      sessionId,
      cookie,
      extensions: [],
    });
    const bytes = plainRecord(ContentType.handshake, seq, wholeMessage(1, seq, body));
    wire.sent.length = wire.sent.length > 1 ? 1 : wire.sent.length;
    wire.tell(wire.server, { type: "datagram", path, bytes });
    return wire.sent.at(-1)?.bytes ?? EMPTY;
  };
  const cookie = decodeHelloVerifyRequest(strip(EMPTY, 0).subarray(25));
  const answer = strip(cookie, 1);
  assert.deepEqual([...answer.subarray(13)], [2, Alert.handshakeFailure]);
});
