import { EMPTY, concat } from "@godwit/base";
import { Code, NON, OptionNumber, request, type Option, type Request } from "@godwit/coap";
import { encodeOscoreOption, encodePiv } from "@godwit/oscore";
import { message, noise, numbered, protectedBy, counter, withOscore } from "./datagrams.ts";
import { sorts, type Kind, type Sort } from "./sort.ts";

/** What names nothing known. */
const OF_NOBODY: Kind = { against: "unknown CID", atMost: 2, port: "coap", from: "many" };
/** What gets an RST, as a ping does. */
const RESET: Kind = { against: "CoAP ping", atMost: 1.2, port: "coap", from: "many" };
/** What gets an answer. */
const ANSWERED: Kind = { against: "CoAP GET", atMost: 1.2, port: "coap", from: "many" };
/** What names a context. */
const OF_DEVICES: Kind = { against: "OSCORE GET", atMost: 1.2, port: "coap", from: "many" };
const OF_NEGOTIATION: Kind = { ...OF_DEVICES, against: "B.2 key agreement" };

export const COAP_SORTS: readonly Sort[] = [
  ...sorts(OF_NOBODY, {
    "CoAP, too short": (_, n) => noise(n, 3, 0x40),
    "CoAP, another version": (_, n) => noise(n, 20, 0x80),
    "CoAP, stray ACK": (_, n) => numbered(Uint8Array.of(0x60, 0, 0, 0), n),
    "CoAP, stray RST": (_, n) => numbered(Uint8Array.of(0x70, 0, 0, 0), n),
    "CoAP, stray answer": (_, n) => numbered(Uint8Array.of(0x61, 0x45, 0, 0, 7), n),
    "CoAP, NON that is no message": (_, n) => numbered(Uint8Array.of(0x50, 0xe0, 0, 0, 1, 2, 3), n),
    "OSCORE, unknown kid": (_, n) => protectedBy(n, { kid: counter(n) }),
  }),
  ...sorts(RESET, {
    "CoAP ping": (_, n) => numbered(Uint8Array.of(0x40, 0, 0, 0), n),
    "CoAP, reserved code": (_, n) => numbered(Uint8Array.of(0x40, 0xe0, 0, 0, 1, 2), n),
    "CoAP, reserved token length": (_, n) => numbered(Uint8Array.of(0x4f, 0x01, 0, 0, 1, 2), n),
    "CoAP, options that end early": (_, n) => numbered(Uint8Array.of(0x40, 0x01, 0, 0, 0xbd), n),
  }),
  ...sorts(ANSWERED, {
    "CoAP GET": (_, n) => message(n, request(Code.GET, { path: "/.well-known/core" })),
    "CoAP, unknown critical option": (_, n) => message(n, asking(UNKNOWN)),
    "CoAP, unknown critical option, NON": (_, n) => message(n, asking(UNKNOWN), NON),
    "CoAP, confirmable answer to nothing": (_, n) =>
      numbered(Uint8Array.of(0x41, 0x45, 0, 0, n), n),
    "CoAP, no such path": (_, n) => message(n, request(Code.GET, { path: "/no/such" })),
    "CoAP, path that is not UTF-8": (_, n) =>
      message(n, asking({ number: OptionNumber.UriPath, value: Uint8Array.of(0xff, n) })),
    "CoAP, path that is not UTF-8, and a block option that is none": (_, n) =>
      message(
        n,
        asking(
          { number: OptionNumber.UriPath, value: Uint8Array.of(0xff, n) },
          { number: OptionNumber.Block2, value: Uint8Array.of(0x0f) },
        ),
      ),
    "CoAP, block option that is none": (_, n) =>
      message(n, asking({ number: OptionNumber.Block2, value: Uint8Array.of(0x0f) })),
    "CoAP, Register that is none": (_, n) =>
      message(
        n,
        request(Code.POST, { path: "/rd", query: ["lwm2m=9", `x=${n}`], payload: noise(n, 20) }),
      ),
    "CoAP, Register without a key": (_, n) => message(n, registering(n)),
    "CoAP, Update of nobody": (_, n) => message(n, request(Code.POST, { path: `/rd/${n}` })),
    "CoAP, first block of an upload": (_, n) => message(n, uploading(n, 0)),
    "CoAP, later block of nothing": (_, n) => message(n, uploading(n, 5)),
    "OSCORE, option that is none": (_, n) => withOscore(n, noise(n, 6, 0xe0)),
  }),
  ...sorts(OF_DEVICES, {
    "OSCORE, known kid, outer block": ({ kid }, n) => message(n, outerBlock(n, kid)),
    "OSCORE, known kid, does not verify": ({ kid }, n) => protectedBy(n, { kid }),
    "OSCORE, known kid, another context": ({ kid }, n) =>
      protectedBy(n, { kid, kidContext: noise(n, 8) }),
  }),
  ...sorts(OF_NEGOTIATION, {
    "B.2, first message that does not verify": ({ negotiatedKid: kid }, n) =>
      protectedBy(n, { kid, kidContext: concat(BYTES_8, noise(n, 8)) }),
    "B.2, first message repeated": ({ recordedB2 }, n) => numbered(recordedB2, n),
  }),
];

function asking(...options: readonly Option[]): Request {
  return { code: Code.GET, options, payload: EMPTY };
}

function registering(n: number): Request {
  return request(Code.POST, {
    path: "/rd",
    query: [`ep=stranger-${n}`, "lt=600", "lwm2m=1.1", "b=U"],
    contentFormat: 40,
    payload: "</1/0>,</3/0>",
  });
}

/** A block of 16 bytes with more to come. */
function uploading(n: number, num: number): Request {
  return request(Code.POST, { path: "/rd", options: [block(num)], payload: noise(n, 16) });
}

/** A first block of a protected request, as a proxy cuts it. */
function outerBlock(n: number, kid: Uint8Array): Request {
  const value = encodeOscoreOption({ piv: encodePiv(n), kidContext: undefined, kid });
  const options = [{ number: OptionNumber.Oscore, value }, block(0)];
  return { code: Code.POST, options, payload: noise(n, 16) };
}

function block(num: number): Option {
  return { number: OptionNumber.Block1, value: Uint8Array.of((num << 4) | 0x08) };
}

const UNKNOWN: Option = { number: 9_999, value: Uint8Array.of(1, 2, 3, 4) };
/** The head of a CBOR byte string of 8 bytes. */
const BYTES_8 = Uint8Array.of(0x48);
