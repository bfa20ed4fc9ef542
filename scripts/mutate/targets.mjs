// What is mutated, by area: the rows of the report.

const AREAS = {
  "replay window": [
    "base/src/replay-window.ts",
    "base/src/reserved-counter.ts",
    "lwm2m/src/server/restart-replay-guard.ts",
    "oscore/src/issued-nonces.ts",
  ],
  "record layer": [
    "dtls/src/record/header.ts",
    "dtls/src/record/protection.ts",
    "dtls/src/association.ts",
    "dtls/src/stray-records.ts",
    "base/src/ledger.ts",
  ],
  "address update": [
    "dtls/src/path-claim.ts",
    "dtls/src/rrc.ts",
    "dtls/src/established.ts",
    "coap/src/amplification.ts",
    "coap/src/udp-sessions.ts",
    "lwm2m/src/server/path-records.ts",
  ],
  "registration look-up": [
    "lwm2m/src/server/registry.ts",
    "lwm2m/src/server/registering.ts",
    "lwm2m/src/server/enrolling.ts",
    "lwm2m/src/registration.ts",
  ],
  "credential binding": [
    "lwm2m/src/server/credential-book.ts",
    "lwm2m/src/server/credential-commands.ts",
    "lwm2m/src/server/credential.ts",
    "lwm2m/src/server/peers.ts",
    "dtls/src/hello-gate.ts",
    "dtls/src/running-handshakes.ts",
    "dtls/src/resumption.ts",
  ],
  operations: [
    "lwm2m/src/server/orders.ts",
    "lwm2m/src/server/operations.ts",
    "lwm2m/src/server/requests.ts",
    "lwm2m/src/server/observing.ts",
    "lwm2m/src/server/observations.ts",
    "lwm2m/src/server/observation-record.ts",
  ],
  codecs: [
    "coap/src/message-codec.ts",
    "coap/src/options-codec.ts",
    "coap/src/block-option.ts",
    "oscore/src/oscore-option.ts",
    "oscore/src/cbor.ts",
    "base/src/fits.ts",
    "base/src/slot.ts",
    "base/src/checked-row.ts",
    "base/src/reader.ts",
    "base/src/writer.ts",
    "lwm2m/src/tlv.ts",
    "lwm2m/src/text.ts",
    "lwm2m/src/node-path.ts",
    "lwm2m/src/server/records.ts",
  ],
};

export const TARGETS = Object.entries(AREAS).flatMap(([area, files]) =>
  files.map((file) => ({ area, file: `packages/${file}` })),
);
