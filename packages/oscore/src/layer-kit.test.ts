import assert from "node:assert/strict";
import { hex, seededRng, toHex, type SessionId } from "@godwit/base";
import {
  Code,
  OptionNumber,
  encodeMessage,
  findOption,
  opaqueOption,
  request as coapRequest,
  response as coapResponse,
  withoutOption,
  type Request,
  type Response,
} from "@godwit/coap";
import type { ClientExchange } from "./association.ts";
import type {
  Credential,
  DropReason,
  OscoreOutput,
  ResponseOutcome,
  UnprotectedRequest,
} from "./layer-events.ts";
import { OscoreLayer } from "./oscore-layer.ts";
import { SecurityContext, type InputParameters } from "./security-context.ts";
import { oscoreTuning, type OscoreTuning } from "./tuning.ts";

// Two ends of OSCORE with a store and an application each, and a wire that a test can hold in its hands. Only functions:
// the tests are beside what they test.

/** The parameters of RFC 8613 C.1, seen from the client. */
export const INPUT: InputParameters = {
  masterSecret: hex("0102030405060708090a0b0c0d0e0f10"),
  masterSalt: hex("9e7ca92223786340"),
  senderId: hex("43"),
  recipientId: hex("53"),
};

export function mirrored(input: InputParameters): InputParameters {
  return { ...input, senderId: input.recipientId, recipientId: input.senderId };
}

/** The carrier both ends begin with. */
export const CARRIER = 700;

export class End {
  layer: OscoreLayer;
  readonly tuning: OscoreTuning;
  readonly session: SessionId;
  readonly credential: Credential;
  /** What is durable. */
  readonly store: Map<string, Uint8Array> = new Map();
  /** `later`: writes wait for `settle`. */
  storeMode: "now" | "later" | "failing" = "now";
  readonly #waiting: Extract<OscoreOutput, { type: "store" }>[] = [];
  /** All outputs but writes, since the last look. */
  readonly events: OscoreOutput[] = [];
  writes = 0;
  now = 0;
  #seed: number;

  constructor(session: SessionId, credential: Credential, changes: Partial<OscoreTuning> = {}) {
    this.session = session;
    this.credential = credential;
    this.tuning = oscoreTuning(changes);
    this.#seed = session;
    this.layer = new OscoreLayer(this.tuning, seededRng(this.#seed));
  }

  add(carrier: SessionId | undefined = CARRIER): this {
    const { session, credential } = this;
    const at = carrier === undefined ? {} : { carrier };
    this.layer.handle({ type: "add", session, credential, ...at }, this.now);
    this.drain();
    return this;
  }

  /** Ends as by kill -9, and comes back with what was durable. */
  crash(trusted = true): void {
    this.#waiting.length = 0;
    this.#seed += 1_000;
    this.layer = new OscoreLayer(this.tuning, seededRng(this.#seed));
    const { session, credential } = this;
    const record = this.store.get(String(session));
    this.layer.handle(
      { type: "restore", session, credential, record, trusted, carrier: CARRIER },
      this.now,
    );
    this.drain();
  }

  drain(): void {
    for (let output = this.layer.poll(); output !== undefined; output = this.layer.poll()) {
      if (output.type !== "store") this.events.push(output);
      else if (this.storeMode === "later") this.#waiting.push(output);
      else this.#write(output, this.storeMode === "now");
    }
  }

  /** The store's answers to all that waits. */
  settle(ok = true): void {
    for (const output of this.#waiting.splice(0)) this.#write(output, ok);
    this.drain();
  }

  advance(ms: number): void {
    this.now += ms;
    this.layer.wake(this.now);
    this.drain();
  }

  /** Events of a type, taken out. */
  take<T extends OscoreOutput["type"]>(type: T): Extract<OscoreOutput, { type: T }>[] {
    const found = this.events.filter((event) => event.type === type);
    const rest = this.events.filter((event) => event.type !== type);
    this.events.splice(0, this.events.length, ...rest);
    return found as Extract<OscoreOutput, { type: T }>[]; // filtered by type
  }

  drops(): DropReason[] {
    return this.take("dropped").map(({ reason }) => reason);
  }

  #write({ ticket, changes }: Extract<OscoreOutput, { type: "store" }>, ok: boolean): void {
    this.writes += 1;
    if (ok)
      for (const { table, key, value } of changes) {
        assert.equal(table, "oscore");
        if (value === undefined) this.store.delete(key);
        else this.store.set(key, value);
      }
    this.layer.handle({ type: "stored", ticket, ok }, this.now);
  }
}

/** A client and a server that share a credential. */
export function ends(
  derivation: Credential["derivation"],
  { client = {}, server = {}, input = INPUT }: PairOptions = {},
): { client: End; server: End } {
  return {
    client: new End(1, { input, derivation, initiates: true }, client).add(),
    server: new End(2, { input: mirrored(input), derivation, initiates: false }, server).add(),
  };
}

export type PairOptions = {
  readonly client?: Partial<OscoreTuning>;
  readonly server?: Partial<OscoreTuning>;
  readonly input?: InputParameters;
};

/** How one request fared. */
export type Talk = {
  /** Bytes of every datagram with a 1-byte token, requests and answers in turn. */
  readonly sizes: number[];
  /** What the server's application was asked. */
  readonly asked: Request[];
  readonly outcome: ResponseOutcome | { readonly kind: "failed"; readonly reason: string };
  readonly requests: Request[];
  readonly responses: Response[];
  readonly exchange: ClientExchange | undefined;
};

let lastRef = 0;

/** One request of `from` to `to`, with all that B.2 and Echo make of it. */
export function talk(
  from: End,
  to: End,
  request: Request = coapRequest(Code.POST, { path: "/rd/1234" }),
  answer: Response = coapResponse(Code.Changed),
  carrier: SessionId = CARRIER,
): Talk {
  const sizes: number[] = [];
  const asked: Request[] = [];
  const requests: Request[] = [];
  const responses: Response[] = [];
  let current = request;
  for (let echo = 0; echo < 3; echo++) {
    let sent = from.layer.protectRequest(from.session, current, from.now);
    from.drain();
    if (sent.kind === "wait" && from.take("ready").length > 0)
      sent = from.layer.protectRequest(from.session, current, from.now);
    from.drain();
    if (sent.kind !== "send") {
      const outcome = {
        kind: "failed",
        reason: sent.kind === "failed" ? sent.reason : "wait",
      } as const;
      return { sizes, asked, outcome, requests, responses, exchange: undefined };
    }
    const { exchange } = sent;
    let outer = sent.request;
    for (;;) {
      sizes.push(size(outer));
      requests.push(outer);
      const reply = serve(to, outer, carrier, answer, asked);
      if (reply === undefined)
        return {
          sizes,
          asked,
          outcome: { kind: "failed", reason: "silence" },
          requests,
          responses,
          exchange,
        };
      sizes.push(size(reply));
      responses.push(reply);
      const outcome = from.layer.unprotectResponse(exchange, reply, from.now);
      from.drain();
      if (outcome.kind === "again") {
        outer = outcome.request;
        continue;
      }
      const value =
        outcome.kind === "response" && outcome.response.code === Code.Unauthorized
          ? findOption(outcome.response.options, OptionNumber.Echo)
          : undefined;
      if (value === undefined) return { sizes, asked, outcome, requests, responses, exchange };
      const options = [
        ...withoutOption(request.options, OptionNumber.Echo),
        opaqueOption(OptionNumber.Echo, value.value),
      ].toSorted((a, b) => a.number - b.number);
      current = { ...request, options };
      break;
    }
  }
  throw new Error("Echo asked for again and again");
}

/** What `to` says to an outer request. */
export function serve(
  to: End,
  outer: Request,
  carrier: SessionId = CARRIER,
  answer: Response = coapResponse(Code.Changed),
  asked: Request[] = [],
): Response | undefined {
  const result = receive(to, outer, carrier);
  switch (result.kind) {
    case "reply":
      return result.response;
    case "request": {
      asked.push(result.request);
      const made = to.layer.protectResponse(result.exchange, answer, to.now);
      to.drain();
      assert.ok(made.kind === "send", JSON.stringify(made));
      return made.response;
    }
    case "duplicate":
      return result.refusal;
    case "held":
    case "silence":
      return undefined;
  }
}

/** What becomes of an outer request, its release included where the store is quick. */
export function receive(to: End, outer: Request, carrier: SessionId = CARRIER): UnprotectedRequest {
  const ref = ++lastRef;
  const result = to.layer.unprotectRequest(carrier, outer, ref, to.now);
  to.drain();
  if (result.kind !== "held") return result;
  const released = to.events.findIndex((event) => event.type === "released" && event.ref === ref);
  if (released < 0) return result;
  const [event] = to.events.splice(released, 1);
  assert.ok(event?.type === "released");
  return event.result;
}

/** Bytes of the datagram, with a token of one byte. */
export function size(message: Request): number {
  return encodeMessage({ type: 0, mid: 1, token: hex("01"), ...message }).length;
}

type Encrypted = Parameters<SecurityContext["encrypt"]>;

/** Runs `story` and fails if one nonce served twice under one key for different bytes, of all or of this Sender ID. */
export function withoutNonceReuse(story: () => void, of?: Uint8Array): void {
  const seen = new Map<string, string>();
  const own = Object.getOwnPropertyDescriptor(SecurityContext.prototype, "encrypt");
  const encrypt = own?.value as (this: SecurityContext, ...parts: Encrypted) => Uint8Array; // its type in the class
  SecurityContext.prototype.encrypt = function (nonce, aad, plaintext) {
    const sealed = encrypt.call(this, nonce, aad, plaintext);
    if (of !== undefined && toHex(of) !== toHex(this.senderId)) return sealed;
    const key = `${toHex(this.senderKey)} ${toHex(nonce)}`;
    const bytes = `${toHex(aad)} ${toHex(plaintext)}`;
    assert.equal(seen.get(key) ?? bytes, bytes, "a nonce was used twice");
    seen.set(key, bytes);
    return sealed;
  };
  try {
    story();
  } finally {
    SecurityContext.prototype.encrypt = encrypt;
  }
}
