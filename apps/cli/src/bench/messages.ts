import {
  Code,
  OptionNumber,
  CON,
  decodeMessage,
  encodeMessage,
  request,
  type Request,
} from "@godwit/coap";

/** What one client of the load asks for. */
export type Ask =
  | { readonly kind: "get"; readonly path: string }
  | { readonly kind: "put"; readonly path: string; readonly payload: string }
  | { readonly kind: "register"; readonly endpoint: string }
  | { readonly kind: "update"; readonly location: readonly string[] };

/** A CON message with a token of 4 bytes; the load writes message id and token. */
export function messageOf(ask: Ask): Uint8Array {
  const { code, options, payload } = requestOf(ask);
  return encodeMessage({ type: CON, code, mid: 0, token: new Uint8Array(4), options, payload });
}

/** The Location-Path of an answer to Register. */
export function locationIn(answer: Uint8Array): readonly string[] {
  const { options } = decodeMessage(answer);
  const path = options.filter(({ number }) => number === OptionNumber.LocationPath);
  return path.map(({ value }) => new TextDecoder().decode(value));
}

function requestOf(ask: Ask): Request {
  switch (ask.kind) {
    case "get":
      return request(Code.GET, { path: ask.path });
    case "put":
      return request(Code.PUT, { path: ask.path, payload: ask.payload });
    case "register":
      return request(Code.POST, {
        path: ["rd"],
        query: [`ep=${ask.endpoint}`, "lt=86400", "lwm2m=1.1", "b=U"],
        contentFormat: 40,
        payload: "</1/0>;ver=1.1,</3/0>;ver=1.1,</5/0>,</3303/0>",
      });
    case "update":
      return request(Code.POST, { path: ask.location });
  }
}
