import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError, Writer, concat, hex, utf8 } from "@godwit/base";
import { Code, response } from "@godwit/coap";
import type { Operation } from "./operation.ts";
import {
  decodeOperation,
  decodeRegistration,
  decodeTouch,
  encodeOperation,
  encodeRegistration,
  encodeTouch,
} from "./records.ts";
import { newRegistration } from "./registration.ts";
import { executeRequest } from "./requests.ts";

/** Each byte another. */
const AT = 0x010a_4c9d_e3f7;
const REGISTRATION = newRegistration({
  id: "a1_B",
  endpoint: "urn:dev:ops:32473-weather-7",
  session: 2 ** 52 + 3,
  identity: { kind: "psk", identity: "weather" },
  lifetime: 86_400,
  version: "1.2",
  binding: "UT",
  queueMode: true,
  sms: "+49170",
  objects: { root: ["lwm2m"], formats: [110, 112], objects: [] },
  registeredAt: AT,
  now: AT,
});
const OPERATION: Operation = {
  id: 2 ** 52 + 1,
  endpoint: "weather",
  kind: "execute",
  path: "/3/0/4",
  request: executeRequest([3, 0, 4], "0='now'"),
  createdAt: AT,
  expiresAt: AT + 1,
  attempts: 3,
  leastIdle: 2_000,
  storedHeard: undefined,
  again: { mid: 0xfffe, token: hex("0102") },
  state: { name: "waiting" },
  owner: "chart",
};
const TOUCH = { updatedAt: AT, expiresAt: AT + 0x1234_5678, session: 2 ** 52 + 3 };

/** What comes back of an operation in each state: one that was on its way waits again. */
const STATES: readonly (readonly [Operation["state"], Operation["state"]])[] = [
  [{ name: "waiting" }, { name: "waiting" }],
  [{ name: "sent", at: AT, idle: 5 }, { name: "waiting" }],
  ...(
    [
      { name: "done", at: AT, response: response(Code.Content, { payload: "87" }) },
      { name: "failed", at: AT, reason: "the device rejected the request (RST)" },
      { name: "expired", at: AT },
      { name: "cancelled", at: AT },
    ] as const
  ).map((state) => [state, state] as const),
];

test("registrations, touches and operations come back from their records", () => {
  const { proven: _1, reach: _2, ...kept } = decodeRegistration(encodeRegistration(REGISTRATION));
  const { proven: _3, reach: _4, ...before } = REGISTRATION;
  assert.deepEqual(kept, before);
  assert.deepEqual(decodeTouch(encodeTouch(TOUCH)), TOUCH);
  const never = { ...TOUCH, expiresAt: undefined };
  assert.deepEqual(decodeTouch(encodeTouch(never)), never);
  for (const [state, back] of STATES)
    assert.deepEqual(decodeOperation(encodeOperation({ ...OPERATION, state })), {
      ...OPERATION,
      state: back,
    });
});

test("a record of layout 1, whose sessions had 48 bits and operations 64, is read", () => {
  const behindId = (text: string): number => 1 + 2 + text.length;
  const registration = encodeRegistration(REGISTRATION);
  const at = behindId(REGISTRATION.id) + 2 + REGISTRATION.endpoint.length;
  const first = concat(
    Uint8Array.of(1),
    registration.subarray(1, at),
    new Writer(6).u48(AT).bytes(),
    registration.subarray(at + 7),
  );
  const { session, identity, objects } = decodeRegistration(first);
  assert.deepEqual([session, identity, objects], [AT, REGISTRATION.identity, REGISTRATION.objects]);
  const touch = new Writer(19).u8(1).u48(AT).u48(0).u48(7).bytes();
  assert.deepEqual(decodeTouch(touch), { updatedAt: AT, expiresAt: undefined, session: 7 });
  const operation = encodeOperation(OPERATION).subarray(8);
  const numbered = (id: bigint): Uint8Array =>
    concat(new Writer(9).u8(1).u64(id).bytes(), operation);
  assert.deepEqual(decodeOperation(numbered(77n)), { ...OPERATION, id: 77 });
  assert.throws(() => decodeOperation(numbered(2n ** 53n)), FormatError);
});

test("every prefix of a record, and a byte too many, is a FormatError", () => {
  // What ends without an owner is whole.
  const { owner = "", ...ownerless } = OPERATION;
  const whole = encodeOperation(ownerless).length;
  assert.equal(encodeOperation(OPERATION).length, whole + 2 + utf8(owner).length);
  for (const [decode, record, also] of [
    [decodeRegistration, encodeRegistration(REGISTRATION), undefined],
    [decodeTouch, encodeTouch(TOUCH), undefined],
    [decodeOperation, encodeOperation(OPERATION), whole],
  ] as const) {
    for (let length = 0; length < record.length; length++)
      if (length !== also) assert.throws(() => decode(record.subarray(0, length)), FormatError);
    assert.throws(() => decode(concat(record, Uint8Array.of(0))), FormatError);
  }
});
