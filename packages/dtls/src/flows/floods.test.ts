import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, concat, utf8 } from "@godwit/base";
import { ContentType, HandshakeType } from "../codes.ts";
import { encodeClientHello } from "../handshake/client-hello.ts";
import { wholeMessage, writeFragment } from "../handshake/header.ts";
import { plainRecord } from "../record/header.ts";
import { DEFAULT_TUNING } from "../tuning.ts";
import { Wire } from "./wire.ts";

// Datagrams of many records. Whatever is in vain in one of them costs once.

const STRANGER = { host: "203.0.113.66", port: 6_666 };
const { maxRecords } = DEFAULT_TUNING;
/** Records that are passed over before the rest of a datagram is thrown away. */
const STRAYS = 8;

function times(n: number, make: (i: number) => Uint8Array): Uint8Array {
  return concat(...Array.from({ length: n }, (_, i) => make(i)));
}

function dropsOf(wire: Wire): Readonly<Record<string, number>> {
  return wire.server.machine.ledger.snapshot().drops;
}

/** A device with a connection id whose records are in the test's hands: `records` are what it says next. */
function device(said: readonly string[]): { readonly wire: Wire; readonly records: Uint8Array[] } {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY });
  wire.connect(client);
  wire.carry = () => [];
  const records = said.map((text) => {
    wire.tell(client, { type: "send", session: 1, bytes: utf8(text) });
    return wire.sent.at(-1)!.bytes; // the line above has sent it
  });
  return { wire, records };
}

function bent(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[copy.length - 1]! ^= 0xff; // there is one
  return copy;
}

function hello(n: number): Uint8Array {
  const random = new Uint8Array(32).fill(n);
  const body = encodeClientHello({
    version: 0xfefd,
    random,
    sessionId: EMPTY,
    cookie: EMPTY,
    suites: [0xc0a8],
    compression: Uint8Array.of(0),
    extensions: [],
  });
  return plainRecord(ContentType.handshake, n, wholeMessage(HandshakeType.clientHello, 0, body));
}

for (const [what, record, drop] of [
  ["empty handshake records", plainRecord(ContentType.handshake, 0, EMPTY), "strayPlain"],
  ["alerts", plainRecord(ContentType.alert, 0, Uint8Array.of(2, 40)), "strayPlain"],
  ["handshake records of noise", plainRecord(22, 0, new Uint8Array(9).fill(7)), "strayPlain"],
] as const) {
  test(`a datagram of 100 ${what} from a stranger is looked at for ${STRAYS} records, makes nothing and is not answered`, () => {
    const wire = new Wire();
    wire.inject(
      times(100, () => record),
      STRANGER,
    );
    assert.equal(wire.sent.length, 0);
    assert.equal(wire.server.machine.handshakes, 0);
    assert.equal(wire.server.machine.ledger.datagramsIn, 1);
    assert.deepEqual(dropsOf(wire), { [drop]: STRAYS });
  });
}

test("RFC 6347 4.2.1: a datagram of many hellos is answered once", () => {
  const wire = new Wire();
  wire.inject(times(20, hello), STRANGER);
  assert.equal(wire.sent.length, 1);
});

test("RFC 6347 4.2.1: a second hello in a datagram begins no second handshake, though its cookie is good", () => {
  const wire = new Wire();
  const shown = [1, 2].map((n) => {
    wire.inject(hello(n), STRANGER);
    const answer = wire.sent.at(-1)!.bytes; // it was answered
    const cookie = answer.subarray(28);
    const body = hello(n).subarray(25);
    const at = 2 + 32 + 1;
    const second = concat(
      body.subarray(0, at),
      Uint8Array.of(cookie.length),
      cookie,
      body.subarray(at + 1),
    );
    return plainRecord(22, n, wholeMessage(HandshakeType.clientHello, 1, second));
  });
  wire.sent.length = 0;
  wire.inject(concat(...shown), STRANGER);
  assert.equal(wire.server.machine.handshakes + wire.server.of("failed").length, 1);
  assert.equal(dropsOf(wire)["secondHello"], 1);
});

test("a datagram of records that do not verify under a known connection id is looked at for one of them", () => {
  const { wire, records } = device(["a"]);
  const [record] = records;
  wire.inject(
    times(20, () => bent(record!)), // device has made it
    STRANGER,
  );
  const { drops } = wire.server.machine.ledgerOf(wire.server.session).snapshot();
  assert.deepEqual(drops, { forged: 1 });
  assert.deepEqual(wire.server.received(), []);
});

test("a datagram of unknown connection ids, or of another version, is looked at for one record", () => {
  const wire = new Wire();
  const unknown = plainRecord(23, 0, new Uint8Array(30));
  unknown[0] = ContentType.tls12Cid;
  unknown[4] = 1;
  wire.inject(
    times(20, () => unknown),
    STRANGER,
  );
  const other = plainRecord(23, 0, new Uint8Array(30));
  other[1] = 3;
  wire.inject(
    times(20, () => other),
    STRANGER,
  );
  assert.deepEqual(dropsOf(wire), { unknownCid: 1, version: 1 });
});

test(`a device may put ${maxRecords} records into one datagram, behind plain ones that are nobody's any more`, () => {
  const said = Array.from({ length: maxRecords + 1 }, (_, i) => `${i}`);
  const { wire, records } = device(said);
  wire.inject(concat(...records), wire.clients[0]!.address); // there is one
  assert.deepEqual(wire.server.received(), said.slice(0, maxRecords));
  const again = device(["b"]);
  const stray = times(4, (i) => plainRecord(22, i, new Uint8Array(20)));
  again.wire.inject(concat(stray, ...again.records), again.wire.clients[0]!.address);
  assert.deepEqual(again.wire.server.received(), ["b"]);
});

test("a datagram of many fragments in many records is looked at for a few of them", () => {
  const wire = new Wire();
  const client = wire.client();
  let said = 0;
  wire.carry = ({ from }) => (from === "client" && ++said > 2 ? [] : [10]); // two hellos, and no more
  wire.connect(client);
  const alerts = (): number => wire.sent.filter(({ bytes }) => bytes[0] === 21).length;
  const length = 100; // of a ClientKeyExchange that is none: its identity is longer than itself
  const piece = (i: number): Uint8Array =>
    writeFragment({ type: 16, length, messageSeq: 2, offset: i, body: Uint8Array.of(0xff) });
  const record = (r: number): Uint8Array =>
    plainRecord(
      22,
      r,
      times(10, (i) => piece(10 * r + i)),
    );
  wire.inject(times(10, record), client.address);
  assert.equal(alerts(), 0, "it is not whole yet");
  for (let r = 0; r < 10; r++) wire.inject(record(r), client.address);
  assert.equal(alerts(), 1, "now it is, and is refused");
});

test("a handshake record of more fragments than any flight has changes nothing in a handshake that runs", () => {
  const wire = new Wire();
  const client = wire.client();
  wire.server.silent = true; // the handshake waits for its key
  wire.connect(client);
  assert.equal(wire.server.machine.handshakes, 1);
  const piece = (i: number): Uint8Array =>
    writeFragment({ type: 11, length: 500, messageSeq: 3, offset: 2 * i, body: Uint8Array.of(i) });
  const sent = wire.sent.length;
  wire.inject(plainRecord(22, 9, times(100, piece)), client.address);
  assert.equal(wire.server.machine.handshakes, 1);
  assert.equal(wire.sent.length, sent);
});

for (const over of [0, 1]) {
  test(`RFC 9853 4: to an address not proven a record that makes exactly three bytes for each byte goes out, one with ${over} more ${over === 0 ? "too" : "does not"}`, () => {
    const { wire, records } = device(["a".repeat(40)]);
    const [record] = records;
    wire.inject(record!, STRANGER); // device has made it; the device seems to be there now
    wire.sent.length = 0;
    const { session } = wire.server;
    const around = 13 + 8 + 8; // header, explicit nonce, tag: towards the device there is no connection id
    const content = new Uint8Array(3 * record!.length - around + over);
    wire.tell(wire.server, { type: "send", session, bytes: content });
    assert.deepEqual(
      wire.sent.map(({ bytes }) => bytes.length),
      over === 0 ? [3 * record!.length] : [],
    );
  });
}
