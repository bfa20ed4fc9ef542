import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { hex, toHex } from "@godwit/base";
import { decodeMessage, encodeMessage, type Message, type Request } from "@godwit/coap";
import { additionalData, keyInfo } from "./cbor.ts";
import { decodePiv, encodePiv } from "./oscore-option.ts";
import {
  RequestBinding,
  oscoreOptionOf,
  protectRequest,
  protectResponse,
  unprotectRequest,
  unprotectResponse,
  verifyResponse,
} from "./protection.ts";
import { KeySource, type SecurityContext } from "./security-context.ts";

const rfc = load<{
  appendixC: (Derivation | MessageVector)[];
  aadExample: { alg: number; requestKid: string; requestPiv: string; aad: string };
}>("rfc8613");
const derivations = rfc.appendixC.filter((vector) => vector.kind === "key-derivation");
const messages = rfc.appendixC.filter((vector) => vector.kind === "message");
const runs = load<{
  b2: Run[];
  b12: Ends & Record<"request1" | "response1" | "request2" | "response2", Wire>;
  observe: Record<"request" | "first_noPiv" | "notify_piv9" | "notify_piv256", Wire>;
}>("runs");
const { captures } = load<{ captures: Record<string, Capture> }>("captures");
const UNAUTHORIZED = { code: 0x81, options: [], payload: hex("") };

test("RFC 8613 C.1-C.3: keys, Common IV and nonces of every context", () => {
  for (const { id, inputs, outputs } of derivations) {
    const { senderId, recipientId, idContext } = inputs;
    const context = contextOf(inputs);
    const idc = idContext === null ? undefined : hex(idContext);
    assert.equal(toHex(keyInfo(hex(senderId), idc, 10, "Key", 16)), outputs.infoSender, id);
    assert.equal(toHex(keyInfo(hex(recipientId), idc, 10, "Key", 16)), outputs.infoRecipient, id);
    assert.equal(toHex(keyInfo(hex(""), idc, 10, "IV", 13)), outputs.infoIv, id);
    assert.equal(toHex(context.senderKey), outputs.senderKey, id);
    assert.equal(toHex(context.recipientKey), outputs.recipientKey, id);
    assert.equal(toHex(context.commonIv), outputs.commonIv, id);
    assert.equal(toHex(context.nonce(hex(senderId), hex("00"))), outputs.senderNonce0, id);
    assert.equal(toHex(context.nonce(hex(recipientId), hex("00"))), outputs.recipientNonce0, id);
  }
});

test("RFC 8613 C.4-C.6: requests, protected and verified, byte for byte", () => {
  for (const vector of messages.filter(({ role }) => role === "request")) {
    const { client, server } = pairOf(vector.context);
    client.sequence = vector.senderSequenceNumber;
    const kidContext = vector.sendKidContext === true ? client.idContext : undefined;
    const plain = decodeMessage(hex(vector.unprotected));
    const sent = protectRequest(client, plain, kidContext)!;
    const wire = encodeMessage({ ...plain, ...sent.request });
    assert.equal(toHex(wire), vector.outputs.protected, vector.id);
    assert.equal(toHex(sent.binding.aad), vector.outputs.aad, vector.id);
    assert.equal(toHex(sent.binding.nonce), vector.outputs.nonce, vector.id);
    assert.equal(client.sequence, vector.senderSequenceNumber + 1);

    const outer = decodeMessage(wire);
    const got = verified(server, outer);
    assert.equal(toHex(encodeMessage({ ...outer, ...got.request })), vector.unprotected, vector.id);
  }
});

test("RFC 8613 C.7-C.8: responses without and with a Partial IV, byte for byte", () => {
  for (const vector of messages.filter(({ role }) => role === "response")) {
    const of = messages.find(({ id }) => id === vector.requestOf)!;
    const { client, server } = pairOf(of.context);
    client.sequence = of.senderSequenceNumber;
    const sent = protectRequest(client, decodeMessage(hex(of.unprotected)))!;
    const { binding } = verified(server, decodeMessage(hex(of.outputs.protected)));
    server.sequence = vector.senderSequenceNumber;
    const plain = decodeMessage(hex(vector.unprotected));
    const ownPiv = vector.usePartialIv === true;
    const outer = protectResponse(binding, plain, { ownPiv })!;
    assert.equal(toHex(encodeMessage({ ...plain, ...outer })), vector.outputs.protected, vector.id);

    const got = unprotectResponse(sent.binding, outer);
    assert.ok(got.kind === "response", vector.id);
    assert.equal(toHex(encodeMessage({ ...plain, ...got.response })), vector.unprotected);
    assert.deepEqual(unprotectResponse(sent.binding, outer), {
      kind: "ignored",
      reason: "replayed",
    });
  }
});

test("RFC 8613 5.4: the additional data of the example", () => {
  const { alg, requestKid, requestPiv, aad } = rfc.aadExample;
  assert.equal(toHex(additionalData(alg, hex(requestKid), hex(requestPiv))), aad);
});

test("RFC 8613 B.2: runs computed by another implementation, byte for byte, with the nonce of response 1", () => {
  for (const run of runs.b2) {
    const client = sourceOf(run, "client");
    const server = sourceOf(run, "server");
    for (const step of [run.context1, run.context2, run.context3]) {
      if (step === undefined) continue;
      const context = client.derive(hex(step.idContext));
      assert.equal(toHex(context.senderKey), step.clientKey, run.name);
      assert.equal(toHex(context.recipientKey), step.serverKey, run.name);
      assert.equal(toHex(context.commonIv), step.commonIv, run.name);
    }
    const client1 = client.derive(hex(run.context1.idContext));
    const server1 = server.derive(hex(run.context1.idContext));
    const request1 = decodeMessage(hex(run.request1.wire));
    const at1 = verified(server1, request1);
    const wrapped1 = oscoreOption(request1).kidContext;
    const sent1 = protectRequest(client1, at1.request, wrapped1)!;
    assert.equal(toHex(encodeMessage({ ...request1, ...sent1.request })), run.request1.wire);

    if (run.response1 !== undefined) {
      const server2 = server.derive(hex(run.context2.idContext));
      const client2 = client.derive(hex(run.context2.idContext));
      const response1 = decodeMessage(hex(run.response1.wire));
      const { kidContext } = oscoreOption(response1);
      const made = protectResponse(at1.binding, UNAUTHORIZED, {
        context: server2,
        kidContext: kidContext!,
      })!;
      assert.equal(toHex(encodeMessage({ ...response1, ...made })), run.response1.wire, run.name);
      const taken = verifyResponse(sent1.binding, client2, response1, oscoreOption(response1));
      assert.ok(taken.kind === "response" && taken.response.code === 0x81, run.name);
    }

    const client3 = client.derive(hex(run.context3.idContext));
    const server3 = server.derive(hex(run.context3.idContext));
    const request2 = decodeMessage(hex(run.request2.wire));
    const at2 = verified(server3, request2);
    const sent2 = protectRequest(client3, at2.request, oscoreOption(request2).kidContext)!;
    assert.equal(toHex(encodeMessage({ ...request2, ...sent2.request })), run.request2.wire);
    const response2 = decodeMessage(hex(run.response2.wire));
    const taken2 = unprotectResponse(sent2.binding, response2);
    assert.ok(taken2.kind === "response", run.name);
    const made2 = protectResponse(at2.binding, taken2.response)!;
    assert.equal(toHex(encodeMessage({ ...response2, ...made2 })), run.response2.wire, run.name);

    for (const update of [run.updateWithoutKidContext, run.updateWithRawKidContext]) {
      const outer = decodeMessage(hex(update.wire));
      const at = verified(server3, outer);
      client3.sequence = 1;
      const sent = protectRequest(client3, at.request, oscoreOption(outer).kidContext)!;
      assert.equal(toHex(encodeMessage({ ...outer, ...sent.request })), update.wire, run.name);
      const answer = decodeMessage(hex(run.updateResponse.wire));
      assert.equal(unprotectResponse(sent.binding, answer).kind, "response", run.name);
    }
  }
});

test("RFC 8613 B.1.2: the Echo run, byte for byte", () => {
  const { b12 } = runs;
  const client = sourceOf(b12, "client").derive(undefined);
  const server = sourceOf(b12, "server").derive(undefined);
  server.sequence = 40;
  for (const [asked, answered, ownPiv] of [
    [b12.request1, b12.response1, true],
    [b12.request2, b12.response2, false],
  ] as const) {
    const request = decodeMessage(hex(asked.wire));
    const at = verified(server, request);
    client.sequence = at.binding.piv;
    const sent = protectRequest(client, at.request)!;
    assert.equal(toHex(encodeMessage({ ...request, ...sent.request })), asked.wire);
    const response = decodeMessage(hex(answered.wire));
    const taken = unprotectResponse(sent.binding, response);
    assert.ok(taken.kind === "response");
    const made = protectResponse(at.binding, taken.response, { ownPiv })!;
    assert.equal(toHex(encodeMessage({ ...response, ...made })), answered.wire);
  }
});

test("RFC 8613 4.1.3.5: notifications without, with a short and with a longer Partial IV, byte for byte", () => {
  const { observe } = runs;
  const client = sourceOf(runs.b12, "client").derive(undefined);
  const server = sourceOf(runs.b12, "server").derive(undefined);
  const request = decodeMessage(hex(observe.request.wire));
  const at = verified(server, request);
  client.sequence = 3;
  const sent = protectRequest(client, at.request)!;
  assert.equal(toHex(encodeMessage({ ...request, ...sent.request })), observe.request.wire);
  for (const [vector, sequence, order] of [
    [observe.first_noPiv, 0, 1],
    [observe.notify_piv9, 9, 2],
    [observe.notify_piv256, 256, 3],
  ] as const) {
    const outer = decodeMessage(hex(vector.wire));
    const taken = unprotectResponse(sent.binding, outer);
    assert.ok(taken.kind === "response" && taken.notification);
    assert.deepEqual(
      taken.response.options.map(({ number, value }) => [number, toHex(value)]),
      [[6, `0${order}`]],
      "an Observe value that only grows",
    );
    server.sequence = sequence;
    const observed = outer.options.filter(({ number }) => number === 6);
    const made = protectResponse(at.binding, { ...taken.response, options: observed })!;
    assert.equal(toHex(encodeMessage({ ...outer, ...made })), vector.wire);
    assert.deepEqual(unprotectResponse(sent.binding, outer), {
      kind: "ignored",
      reason: "replayed",
    });
  }
});

test("recorded runs of libcoap, Californium and aiocoap: every message verifies and protects to the same bytes", () => {
  let seen = 0;
  for (const [name, capture] of Object.entries(captures)) {
    const sources = { client: sourceOf(capture, "client"), server: sourceOf(capture, "server") };
    const sent = new Map<string, Pending>(); // by token
    capture.messages.forEach((recorded, i) => {
      if (recorded.option === undefined) return;
      const where = `${name} [${i}]`;
      const outer = decodeMessage(hex(recorded.hex));
      assert.equal(toHex(encodeMessage(outer)), recorded.hex);
      if (recorded.fail === true) {
        const server = sources.server.derive(undefined);
        assert.equal(unprotectRequest(server, outer, oscoreOption(outer)), undefined, where);
        return;
      }
      seen += 1;
      const idContext = recorded.idContext == null ? undefined : hex(recorded.idContext);
      if (recorded.dir === "C>S") {
        const client = sources.client.derive(idContext);
        const at = verified(sources.server.derive(idContext), outer);
        assert.equal(toHex(plaintextOf(at.request)), recorded.inner, where);
        client.sequence = at.binding.piv;
        const again = protectRequest(client, at.request, oscoreOption(outer).kidContext)!;
        assert.deepEqual(oscoreOption(again.request), oscoreOption(outer), where);
        assert.equal(toHex(again.request.payload), toHex(outer.payload), where);
        sent.set(recorded.token, { binding: again.binding, at: at.binding });
      } else {
        const pending = sent.get(recorded.token)!;
        const context = sources.client.derive(idContext);
        const option = oscoreOption(outer);
        const binding = onBehalfOf(pending.binding, context);
        const taken = verifyResponse(binding, context, outer, option);
        assert.ok(taken.kind === "response", `${where} ${JSON.stringify(taken)}`);
        pending.binding.notifications = binding.notifications;
        pending.binding.notified = binding.notified;
        pending.binding.done = binding.done;
        assert.equal(taken.response.code, Number.parseInt(recorded.inner!.slice(0, 2), 16), where);
      }
    });
  }
  assert.equal(seen, 82);
});

type Pending = { readonly binding: RequestBinding; readonly at: RequestBinding };

/** The same exchange, its responses under the keys of `context`. */
function onBehalfOf(binding: RequestBinding, context: SecurityContext): RequestBinding {
  const { nonce, aad, piv, observe } = binding;
  const copy = new RequestBinding(context, nonce, aad, piv, observe);
  copy.notified = binding.notified;
  copy.notifications = binding.notifications;
  copy.done = binding.done;
  return copy;
}

function plaintextOf(request: Request): Uint8Array {
  const options = request.options.filter(({ number }) => number !== 3 && number !== 7);
  const whole = encodeMessage({ type: 0, mid: 0, token: hex(""), ...request, options });
  return Uint8Array.of(request.code, ...whole.subarray(4));
}

function oscoreOption(message: Pick<Message, "options">) {
  const option = oscoreOptionOf(message.options);
  assert.ok(option !== undefined && option !== "bad");
  return option;
}

function verified(context: SecurityContext, outer: Request) {
  const option = oscoreOption(outer);
  const got = unprotectRequest(context, outer, option);
  assert.ok(got !== undefined && "request" in got);
  assert.equal(got.binding.piv, decodePiv(option.piv!));
  assert.deepEqual(encodePiv(got.binding.piv), new Uint8Array(option.piv!));
  return got;
}

function contextOf(inputs: Inputs): SecurityContext {
  const { masterSecret, masterSalt, senderId, recipientId, idContext } = inputs;
  return new KeySource({
    masterSecret: hex(masterSecret),
    masterSalt: hex(masterSalt),
    senderId: hex(senderId),
    recipientId: hex(recipientId),
  }).derive(idContext === null ? undefined : hex(idContext));
}

function pairOf(id: string): { client: SecurityContext; server: SecurityContext } {
  const inputs = derivations.find((vector) => vector.id === id)!.inputs;
  const { senderId, recipientId } = inputs;
  return {
    client: contextOf(inputs),
    server: contextOf({ ...inputs, senderId: recipientId, recipientId: senderId }),
  };
}

function sourceOf(run: Ends, end: "client" | "server"): KeySource {
  const [senderId, recipientId] =
    end === "client" ? [run.clientId, run.serverId] : [run.serverId, run.clientId];
  return new KeySource({
    masterSecret: hex(run.masterSecret),
    masterSalt: hex(run.masterSalt),
    senderId: hex(senderId),
    recipientId: hex(recipientId),
  });
}

function load<T>(name: string): T {
  return JSON.parse(
    readFileSync(new URL(`../src/vectors/${name}.json`, import.meta.url), "utf8"),
  ) as T;
}

type Inputs = {
  masterSecret: string;
  masterSalt: string;
  senderId: string;
  recipientId: string;
  idContext: string | null;
};
type Ends = { clientId: string; serverId: string; masterSecret: string; masterSalt: string };
type Derivation = {
  id: string;
  kind: "key-derivation";
  inputs: Inputs;
  outputs: Record<
    | "infoSender"
    | "infoRecipient"
    | "infoIv"
    | "senderKey"
    | "recipientKey"
    | "commonIv"
    | "senderNonce0"
    | "recipientNonce0",
    string
  >;
};
type MessageVector = {
  id: string;
  kind: "message";
  context: string;
  role: "request" | "response";
  requestOf?: string;
  sendKidContext?: boolean;
  usePartialIv?: boolean;
  unprotected: string;
  senderSequenceNumber: number;
  outputs: { aad: string; nonce: string; protected: string };
};
type Step = { idContext: string; clientKey: string; serverKey: string; commonIv: string };
type Wire = { wire: string };
type Run = Ends & {
  name: string;
  context1: Step;
  context2: Step;
  context3: Step;
  request1: Wire;
  response1?: Wire;
  request2: Wire;
  response2: Wire;
  updateWithoutKidContext: Wire;
  updateWithRawKidContext: Wire;
  updateResponse: Wire;
};
type Capture = Ends & {
  messages: {
    dir: "C>S" | "S>C";
    token: string;
    hex: string;
    option?: string;
    idContext?: string | null;
    inner?: string;
    fail?: boolean;
  }[];
};
