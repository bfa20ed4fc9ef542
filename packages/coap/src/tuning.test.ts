import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "@godwit/base";
import {
  coapTuning,
  exchangeLifetime,
  maxLatency,
  maxRtt,
  maxTransmitSpan,
  maxTransmitWait,
  nonLifetime,
} from "./tuning.ts";

const t = coapTuning();
for (const [name, derive, seconds] of [
  ["MAX_TRANSMIT_SPAN", maxTransmitSpan, 45],
  ["MAX_TRANSMIT_WAIT", maxTransmitWait, 93],
  ["MAX_LATENCY", maxLatency, 100],
  ["MAX_RTT", maxRtt, 202],
  ["EXCHANGE_LIFETIME", exchangeLifetime, 247],
  ["NON_LIFETIME", nonLifetime, 145],
] as const) {
  test(`RFC 7252 4.8.2: ${name} follows from the defaults as ${seconds} s`, () => {
    assert.equal(derive(t), seconds * 1000);
  });
}

for (const bad of [
  { ackTimeout: 0 },
  { ackRandomFactor: 0.9 },
  { nstart: 0 },
  { tokenLength: 0 },
  { tokenLength: 9 },
  { preferredSzx: 7 },
  { shrinkAfter: 0 },
  { sessionLifetime: 246_999 },
]) {
  test(`tuning refuses ${JSON.stringify(bad)}`, () => {
    assert.throws(() => coapTuning(bad), UsageError);
  });
}
