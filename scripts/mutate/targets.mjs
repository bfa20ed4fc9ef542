// What is mutated, and which parts of the tests are asked, one after the other, until one fails. Each file's own tests come
// first, since they are quick; the stories of the whole stack come last.

const FLOWS = ["lwm2m/flows/", "lab/src/faults"];

/** `area`: the row of the report. `tests`: parts as scripts/test.mjs takes them. */
export const TARGETS = [
  target("replay window", "packages/base/src/replay-window.ts", [
    "base/",
    "dtls/",
    "oscore/",
    ...FLOWS,
  ]),
  target("record layer", "packages/dtls/src/record/header.ts", [
    "dtls/src/record/",
    "dtls/",
    ...FLOWS,
  ]),
  target("record layer", "packages/dtls/src/record/protection.ts", [
    "dtls/src/record/",
    "dtls/",
    ...FLOWS,
  ]),
  target("record layer", "packages/dtls/src/association.ts", ["dtls/", ...FLOWS]),
  target("record layer", "packages/base/src/ledger.ts", ["base/", "dtls/", ...FLOWS]),
  target("address update", "packages/dtls/src/path-claim.ts", ["dtls/", ...FLOWS]),
  target("address update", "packages/dtls/src/rrc.ts", ["dtls/", ...FLOWS]),
  target("address update", "packages/dtls/src/established.ts", ["dtls/", ...FLOWS]),
  target("address update", "packages/coap/src/amplification.ts", ["coap/", ...FLOWS]),
  target("address update", "packages/coap/src/udp-sessions.ts", ["coap/", ...FLOWS]),
  target("registration look-up", "packages/lwm2m/src/server/registry.ts", ["lwm2m/"]),
  target("registration look-up", "packages/lwm2m/src/server/registering.ts", ["lwm2m/"]),
  target("registration look-up", "packages/lwm2m/src/registration.ts", ["lwm2m/"]),
  target("credential binding", "packages/lwm2m/src/server/credential-book.ts", [
    "lwm2m/",
    "server/",
    "cli/src/serve",
  ]),
  target("credential binding", "packages/lwm2m/src/server/peers.ts", [
    "lwm2m/",
    "server/",
    "cli/src/serve",
  ]),
  target("operations", "packages/lwm2m/src/server/orders.ts", ["lwm2m/"]),
  target("operations", "packages/lwm2m/src/server/operations.ts", ["lwm2m/"]),
  target("operations", "packages/lwm2m/src/server/requests.ts", ["lwm2m/"]),
  target("codecs", "packages/coap/src/message-codec.ts", ["coap/src/message-codec", "coap/"]),
  target("codecs", "packages/coap/src/options-codec.ts", ["coap/src/options-codec", "coap/"]),
  target("codecs", "packages/coap/src/block-option.ts", ["coap/src/block", "coap/"]),
  target("codecs", "packages/oscore/src/oscore-option.ts", ["oscore/"]),
  target("codecs", "packages/oscore/src/cbor.ts", ["oscore/"]),
  target("codecs", "packages/base/src/reader.ts", ["base/", "coap/", "dtls/"]),
  target("codecs", "packages/base/src/writer.ts", ["base/", "coap/", "dtls/", "lwm2m/"]),
  target("codecs", "packages/lwm2m/src/tlv.ts", ["lwm2m/src/tlv", "lwm2m/"]),
  target("codecs", "packages/lwm2m/src/text.ts", ["lwm2m/src/text", "lwm2m/"]),
  target("codecs", "packages/lwm2m/src/node-path.ts", ["lwm2m/"]),
  target("codecs", "packages/lwm2m/src/server/records.ts", ["lwm2m/"]),
];

function target(area, file, tests) {
  return { area, file, tests };
}
