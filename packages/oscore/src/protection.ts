import { EMPTY } from "@godwit/base";
import {
  Code,
  OBSERVE_REGISTER,
  OptionNumber,
  encodeBody,
  findObserve,
  findOption,
  isRequest,
  isResponse,
  observeOption,
  scanBody,
  sortOptions,
  withoutOption,
  type Option,
  type Request,
  type Response,
} from "@godwit/coap";
import { mergeOptions, splitOptions } from "./option-classes.ts";
import {
  decodePiv,
  encodeOscoreOption,
  encodePiv,
  scanOscoreOption,
  type OscoreOption,
} from "./oscore-option.ts";
import type { SecurityContext } from "./security-context.ts";

// RFC 8613 section 8 without state of its own: what is kept per request is the binding, what is kept per peer is the
// security context.
//
//   client                                             server
//   protectRequest ──> outer request ───────────────> unprotectRequest
//        │ binding                                          │ binding
//   unprotectResponse <── outer responses <──────────── protectResponse (once, or many times under Observe)

/** Ties responses to their request (RFC 8613 7.1): kept until the last response. */
export class RequestBinding {
  readonly context: SecurityContext;
  /** The request's nonce, byte for byte: responses without Partial IV use it, even under keys of another ID Context. */
  readonly nonce: Uint8Array;
  readonly aad: Uint8Array;
  /** Partial IV of the request. */
  readonly piv: number;
  /** Inner Observe of the request: 0 has registered. */
  readonly observe: number | undefined;
  /** The request's nonce has served for a response: it must not serve another. */
  nonceUsed = false;
  /** Notification Number: the largest Partial IV of the notifications so far, -1 before the first (7.4.1). */
  notified = -1;
  /** Notifications accepted, for an Observe value that only grows. */
  notifications = 0;
  /** The one response, or the last of an observation, was accepted. */
  done = false;

  constructor(
    context: SecurityContext,
    nonce: Uint8Array,
    aad: Uint8Array,
    piv: number,
    observe: number | undefined,
  ) {
    this.context = context;
    this.nonce = nonce;
    this.aad = aad;
    this.piv = piv;
    this.observe = observe;
  }
}

/** Protects a request (8.1). Undefined: the context has no sequence number left. */
export function protectRequest(
  context: SecurityContext,
  request: Request,
  kidContext?: Uint8Array,
): { readonly request: Request; readonly binding: RequestBinding } | undefined {
  const { inner, outer } = splitOptions(request.options);
  const plaintext = encodePlaintext(request.code, inner, request.payload);
  const sequence = context.takeSequence();
  if (sequence === undefined) return undefined;
  const piv = encodePiv(sequence);
  const nonce = context.nonce(context.senderId, piv);
  const aad = context.additionalData(context.senderId, piv);
  const payload = context.encrypt(nonce, aad, plaintext);
  const observe = findOption(inner, OptionNumber.Observe);
  const option = { piv, kidContext, kid: context.senderId };
  return {
    request: {
      code: observe === undefined ? Code.POST : Code.FETCH,
      options: outerOptions(outer, observe, option),
      payload,
    },
    binding: new RequestBinding(context, nonce, aad, sequence, findObserve(inner)),
  };
}

/** A request that verified: what the peer meant, and what its responses hang on. */
export type VerifiedRequest = { readonly request: Request; readonly binding: RequestBinding };

/**
 * Verifies and decrypts a request under one context (8.2 steps 4 to 7). The replay window is the caller's: ask it before,
 * tell it after. `malformed`: it is the peer's, but no CoAP request.
 */
export function unprotectRequest(
  context: SecurityContext,
  outer: Request,
  option: OscoreOption,
): VerifiedRequest | { readonly malformed: RequestBinding } | undefined {
  const { piv, kid } = option;
  if (piv === undefined || kid === undefined || !context.isRecipient(kid)) return undefined;
  const nonce = context.nonce(kid, piv);
  const aad = context.additionalData(kid, piv);
  const plaintext = context.decrypt(nonce, aad, outer.payload);
  if (plaintext === undefined) return undefined;
  const inner = decodePlaintext(plaintext);
  if (inner === undefined || !isRequest(inner.code))
    return {
      malformed: new RequestBinding(context, nonce.slice(), aad, decodePiv(piv), undefined),
    };
  return {
    request: { ...inner, options: mergeOptions(inner.options, outer.options) },
    binding: new RequestBinding(context, nonce, aad, decodePiv(piv), findObserve(inner.options)),
  };
}

export type ResponseProtection = {
  /** A Partial IV of our own even where the request's nonce would do. */
  readonly ownPiv?: boolean;
  /** Other keys than the request's (RFC 8613 B.2, response 1). */
  readonly context?: SecurityContext;
  readonly kidContext?: Uint8Array;
};

/**
 * Protects a response (8.3). The first may use the request's nonce; every other gets a Partial IV. Undefined: the context
 * has no sequence number for it.
 */
export function protectResponse(
  binding: RequestBinding,
  response: Response,
  { ownPiv = false, context = binding.context, kidContext }: ResponseProtection = {},
): Response | undefined {
  const split = splitOptions(response.options);
  const observe = findOption(split.inner, OptionNumber.Observe);
  const notification = observe !== undefined && binding.observe === OBSERVE_REGISTER;
  const inner = observe === undefined ? split.inner : withObserve(split.inner, notification);
  const plaintext = encodePlaintext(response.code, inner, response.payload);
  let piv: Uint8Array | undefined;
  let { nonce } = binding;
  if (ownPiv || binding.nonceUsed) {
    const sequence = context.takeSequence();
    if (sequence === undefined) return undefined;
    piv = encodePiv(sequence);
    nonce = context.nonce(context.senderId, piv);
  } else {
    binding.nonceUsed = true;
  }
  const payload = context.encrypt(nonce, binding.aad, plaintext);
  return {
    code: notification ? Code.Content : Code.Changed,
    options: outerOptions(split.outer, notification ? observe : undefined, {
      piv,
      kidContext,
      kid: undefined,
    }),
    payload,
  };
}

export type UnprotectedResponse =
  | {
      readonly kind: "response";
      readonly response: Response;
      /** Another may follow under the same binding. */
      readonly notification: boolean;
      /** Undefined: the response used the request's nonce. */
      readonly piv: number | undefined;
    }
  /** Not the peer's, or not for this request, or had before: as if it had not come (8.4 step 8). */
  | { readonly kind: "ignored"; readonly reason: ResponseFault };

export type ResponseFault =
  | "unprotected"
  | "badOption"
  | "forged"
  | "malformed"
  | "replayed"
  | "unexpected";

/**
 * Verifies and decrypts a response (8.4). Notifications come out in order of their Partial IVs, with an Observe value that
 * only grows: an old one is `replayed`. Whatever is ignored leaves the binding as it was.
 */
export function unprotectResponse(binding: RequestBinding, outer: Response): UnprotectedResponse {
  const option = oscoreOptionOf(outer.options);
  if (option === undefined) return ignored("unprotected");
  if (option === "bad") return ignored("badOption");
  return verifyResponse(binding, binding.context, outer, option);
}

/** {@link unprotectResponse} with the option at hand, and under keys that may be another context's. */
export function verifyResponse(
  binding: RequestBinding,
  context: SecurityContext,
  outer: Response,
  option: OscoreOption,
): UnprotectedResponse {
  if (binding.done) return ignored("replayed");
  const piv = option.piv === undefined ? undefined : decodePiv(option.piv);
  const nonce =
    option.piv === undefined ? binding.nonce : context.nonce(context.recipientId, option.piv);
  const plaintext = context.decrypt(nonce, binding.aad, outer.payload);
  if (plaintext === undefined) return ignored("forged");
  const inner = decodePlaintext(plaintext);
  if (inner === undefined || !isResponse(inner.code)) return ignored("malformed");
  const notification = findOption(inner.options, OptionNumber.Observe) !== undefined;
  if (notification && binding.observe === undefined) return ignored("unexpected"); // 4.1.3.5.2
  const options = mergeOptions(inner.options, outer.options);
  if (!notification || binding.observe !== OBSERVE_REGISTER) {
    binding.done = true;
    return response(inner.code, options, inner.payload, false, piv);
  }
  // 7.4.1: one notification without Partial IV, the oldest; all others newer than any before
  if (piv === undefined ? binding.notifications > 0 : piv <= binding.notified)
    return ignored("replayed");
  if (piv !== undefined) binding.notified = piv;
  binding.notifications += 1;
  const ordered = sortOptions([
    ...withoutOption(options, OptionNumber.Observe),
    observeOption(binding.notifications),
  ]);
  return response(inner.code, ordered, inner.payload, true, piv);
}

/** The OSCORE option of a received message; "bad" if its value is none (8.2 step 2). */
export function oscoreOptionOf(options: readonly Option[]): OscoreOption | "bad" | undefined {
  const found = findOption(options, OptionNumber.Oscore);
  if (found === undefined) return undefined;
  const option = scanOscoreOption(found.value);
  return typeof option === "string" ? "bad" : option;
}

/** Code, inner options and payload (5.3). */
function encodePlaintext(
  code: number,
  options: readonly Option[],
  payload: Uint8Array,
): Uint8Array {
  const body = encodeBody(options, payload);
  const plaintext = new Uint8Array(1 + body.length);
  plaintext[0] = code;
  plaintext.set(body, 1);
  return plaintext;
}

/** Undefined for what is no CoAP message inside, or is protected once more. */
function decodePlaintext(plaintext: Uint8Array): Request | undefined {
  const code = plaintext[0];
  if (code === undefined) return undefined;
  const body = scanBody(plaintext, 1);
  if (typeof body === "string") return undefined;
  const { options, payload } = body;
  if (findOption(options, OptionNumber.Oscore) !== undefined) return undefined;
  return { code, options, payload };
}

/** 4.1.3.5.2: inside a notification Observe is empty; inside anything else it says nothing. */
function withObserve(options: readonly Option[], notification: boolean): readonly Option[] {
  if (!notification) return withoutOption(options, OptionNumber.Observe);
  return options.map((option) =>
    option.number === OptionNumber.Observe ? { number: option.number, value: EMPTY } : option,
  );
}

function outerOptions(
  outer: Option[],
  observe: Option | undefined,
  oscore: OscoreOption,
): readonly Option[] {
  const protection = { number: OptionNumber.Oscore, value: encodeOscoreOption(oscore) };
  if (outer.length === 0) return observe === undefined ? [protection] : [observe, protection];
  if (observe !== undefined) outer.push(observe);
  outer.push(protection);
  return sortOptions(outer);
}

function response(
  code: number,
  options: readonly Option[],
  payload: Uint8Array,
  notification: boolean,
  piv: number | undefined,
): UnprotectedResponse {
  return { kind: "response", response: { code, options, payload }, notification, piv };
}

function ignored(reason: ResponseFault): UnprotectedResponse {
  return { kind: "ignored", reason };
}
