import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, FormatError, Reader, concat, seededRng, toHex, utf8 } from "@godwit/base";
import { CertificateType, ExtensionType, HandshakeType } from "../codes.ts";
import { decodeAssociation, encodeAssociation } from "../export.ts";
import { Association } from "../association.ts";
import { KeySlab } from "../keys.ts";
import { CAPTURES, SEALED_CAPTURE, capture, plainMessagesOf } from "../flows/captures.ts";
import { decodeRoutability, encodeRoutability } from "../rrc.ts";
import { decodeSession, encodeSession } from "../saved-session.ts";
import { SUITES } from "../suites.ts";
import {
  decodeCertificate,
  decodeCertificateRequest,
  encodeCertificate,
  encodeCertificateRequest,
} from "./certificate.ts";
import { decodeClientHello, encodeClientHello } from "./client-hello.ts";
import {
  certificateType,
  certificateTypes,
  connectionId,
  maxFragmentLength,
  recordSizeLimit,
  renegotiationInfo,
  serverName,
  signatureAlgorithms,
  supportedGroups,
} from "./extensions.ts";
import { readFragments, wholeMessage, writeFragment } from "./header.ts";
import { decodeHelloVerifyRequest, encodeHelloVerifyRequest } from "./hello-verify-request.ts";
import {
  decodeCertificateVerify,
  decodeClientKeyExchange,
  decodeServerKeyExchange,
  encodeCertificateVerify,
  encodeClientKeyExchange,
  encodeServerKeyExchange,
} from "./key-exchange.ts";
import { decodeNewSessionTicket, encodeNewSessionTicket } from "./new-session-ticket.ts";
import { decodeServerHello, encodeServerHello } from "./server-hello.ts";

type Codec = {
  readonly name: string;
  /** decode, then encode */
  readonly again: (bytes: Uint8Array) => Uint8Array;
  readonly samples: readonly Uint8Array[];
  /** A prefix that is a whole message too: extensions may be left out. */
  readonly legalPrefix?: (sample: Uint8Array, length: number) => boolean;
};

const messages = [...CAPTURES, SEALED_CAPTURE].flatMap((name) => plainMessagesOf(capture(name)));
const bodies = (type: number): Uint8Array[] =>
  messages.filter(({ message }) => message.type === type).map(({ message }) => message.body);
const share = { group: 29, point: new Uint8Array(32).fill(9) };
const signature = { scheme: 0x0403, signature: new Uint8Array(70).fill(3) };
const spki = new Uint8Array(91).fill(1);
const session = {
  suite: SUITES[0]!, // there are eleven
  master: new Uint8Array(48).fill(5),
  extended: true,
  identity: { kind: "psk", identity: "dev01" } as const,
  generation: 2 ** 53 - 1,
  serverName: "lwm2m.example.com",
  expires: 1_800_000_000_000,
  id: new Uint8Array(8).fill(2),
  ticket: new Uint8Array(20).fill(4),
};
const association = new Association(
  {
    session: 2 ** 53 - 2,
    suite: session.suite,
    identity: session.identity,
    generation: session.generation,
    path: { local: { host: "198.51.100.1", port: 5684 }, remote: { host: "2001:db8::7", port: 9 } },
    ownCid: Uint8Array.of(1, 2, 3, 4),
    peerCid: EMPTY,
    sessionId: session.id,
    readKeys: new Uint8Array(20).fill(6),
    writeKeys: new Uint8Array(20).fill(7),
    peerLimit: 16_384,
    routability: true,
  },
  new KeySlab(),
  64,
  0,
);

const CODECS: readonly Codec[] = [
  {
    name: "ClientHello",
    again: (b) => encodeClientHello(decodeClientHello(b)),
    samples: bodies(HandshakeType.clientHello),
    legalPrefix: (sample, length) =>
      length === 2 + 32 + 1 + sample[34]! + 1 + cookieLength(sample) + suitesLength(sample) + 2, // inside the hello
  },
  {
    name: "ServerHello",
    again: (b) => encodeServerHello(decodeServerHello(b)),
    samples: bodies(HandshakeType.serverHello),
    legalPrefix: (sample, length) => length === 2 + 32 + 1 + sample[34]! + 3, // inside the hello
  },
  {
    name: "HelloVerifyRequest",
    again: (b) => {
      const made = encodeHelloVerifyRequest(decodeHelloVerifyRequest(b));
      made[1] = b[1]!; // the version says nothing and is not kept
      return made;
    },
    samples: bodies(HandshakeType.helloVerifyRequest),
  },
  {
    name: "NewSessionTicket",
    again: (b) => encodeNewSessionTicket(decodeNewSessionTicket(b)),
    samples: bodies(HandshakeType.newSessionTicket),
  },
  {
    name: "ClientKeyExchange, PSK",
    again: (b) => encodeClientKeyExchange("psk", decodeClientKeyExchange("psk", b)),
    samples: [encodeClientKeyExchange("psk", { identity: utf8("dev01"), point: undefined })],
  },
  {
    name: "ClientKeyExchange, ECDHE_PSK",
    again: (b) => encodeClientKeyExchange("ecdhePsk", decodeClientKeyExchange("ecdhePsk", b)),
    samples: plainMessagesOf(capture(SEALED_CAPTURE))
      .filter(({ message }) => message.type === HandshakeType.clientKeyExchange)
      .map(({ message }) => message.body),
  },
  {
    name: "ServerKeyExchange, PSK with hint",
    again: (b) => encodeServerKeyExchange("psk", decodeServerKeyExchange("psk", b)),
    samples: plainMessagesOf(capture("libcoap-tinydtls-psk-ccm8"))
      .filter(({ message }) => message.type === HandshakeType.serverKeyExchange)
      .map(({ message }) => message.body),
  },
  {
    name: "ServerKeyExchange, ECDHE_PSK",
    again: (b) => encodeServerKeyExchange("ecdhePsk", decodeServerKeyExchange("ecdhePsk", b)),
    samples: plainMessagesOf(capture(SEALED_CAPTURE))
      .filter(({ message }) => message.type === HandshakeType.serverKeyExchange)
      .map(({ message }) => message.body),
  },
  {
    name: "ServerKeyExchange, ECDHE_ECDSA",
    again: (b) => encodeServerKeyExchange("ecdheEcdsa", decodeServerKeyExchange("ecdheEcdsa", b)),
    samples: [encodeServerKeyExchange("ecdheEcdsa", { hint: EMPTY, share, signature })],
  },
  {
    name: "CertificateVerify",
    again: (b) => encodeCertificateVerify(decodeCertificateVerify(b)),
    samples: [encodeCertificateVerify(signature)],
  },
  {
    name: "CertificateRequest",
    again: (b) => encodeCertificateRequest(decodeCertificateRequest(b)),
    samples: [
      encodeCertificateRequest({ types: [64], schemes: [0x0403], authorities: EMPTY }),
      encodeCertificateRequest({ types: [1, 64], schemes: [0x0401, 0x0403], authorities: spki }),
    ],
  },
  {
    name: "Certificate, RFC 7250",
    again: (b) => encodeCertificate(decodeCertificate("rpk", b)),
    samples: [encodeCertificate({ kind: "rpk", spki })],
  },
  {
    name: "Certificate, X.509",
    again: (b) => encodeCertificate(decodeCertificate("x509", b)),
    samples: [encodeCertificate({ kind: "x509", chain: [spki, spki.subarray(5)] })],
  },
  {
    name: "return routability check",
    again: (b) => {
      const message = decodeRoutability(b);
      return message === undefined ? b : encodeRoutability(message); // of the future: to be ignored
    },
    samples: (["challenge", "response", "drop"] as const).map((type) =>
      encodeRoutability({ type, cookie: new Uint8Array(8).fill(8) }),
    ),
  },
  {
    name: "saved session",
    again: (b) => encodeSession(decodeSession(b)),
    samples: [
      encodeSession(session),
      encodeSession({ ...session, identity: { kind: "rpk", spki: toHex(spki) } }),
      encodeSession({ ...session, identity: { kind: "none" }, id: EMPTY, ticket: EMPTY }),
    ],
  },
  {
    name: "stored association",
    again: (b) => {
      const state = decodeAssociation(b);
      const a = new Association(state, new KeySlab(), 64, 0);
      if (state.received >= 0) a.window.accept(state.received);
      return encodeAssociation(a, state.writeFrom);
    },
    samples: [encodeAssociation(association, 1_024)],
  },
  {
    name: "handshake record",
    again: (b) => concat(...readFragments(b).map(writeFragment)),
    samples: [
      wholeMessage(1, 0, spki),
      concat(wholeMessage(2, 1, spki), wholeMessage(14, 2, EMPTY)),
    ],
    legalPrefix: (_, length) => length === 12 + spki.length,
  },
];

for (const { name, again, samples, legalPrefix } of CODECS) {
  test(`${name}: decoded and encoded again it is the same`, () => {
    assert.ok(samples.length > 0);
    for (const sample of samples) assert.equal(toHex(again(sample)), toHex(sample));
  });

  test(`${name}: every prefix, and one byte too many, is refused`, () => {
    for (const sample of samples) {
      for (let length = 0; length < sample.length; length++) {
        if (legalPrefix?.(sample, length) === true) continue;
        assert.throws(() => again(sample.subarray(0, length)), FormatError, `${length}`);
      }
      assert.throws(() => again(concat(sample, Uint8Array.of(0))), FormatError, "one more");
    }
  });

  test(`${name}: random bytes and every flipped byte throw FormatError or nothing`, () => {
    const rng = seededRng(11);
    const attempt = (bytes: Uint8Array): void => {
      try {
        again(bytes);
      } catch (error) {
        // what decodes may be too much for the encoder's own limits, but never for the decoder's
        assert.ok(error instanceof FormatError, `${String(error)} for ${toHex(bytes)}`);
      }
    };
    for (const sample of samples.slice(0, 6)) {
      for (let at = 0; at < sample.length; at++) {
        for (const bit of [1, 0x80]) {
          const bent = Uint8Array.from(sample);
          bent[at]! ^= bit; // within
          attempt(bent);
        }
      }
    }
    for (let i = 0; i < 300; i++) attempt(rng.bytes(Math.floor(rng.float() * 120)));
  });
}

for (const [name, list, read] of [
  ["connection_id", [connectionId.write(spki)], connectionId.read],
  ["record_size_limit", [recordSizeLimit.write(64)], recordSizeLimit.read],
  ["max_fragment_length", [maxFragmentLength.write(4_096)], maxFragmentLength.read],
  ["supported_groups", [supportedGroups.write([29, 23])], supportedGroups.read],
  ["signature_algorithms", [signatureAlgorithms.write([0x0403])], signatureAlgorithms.read],
  ["server_name", [serverName.write("lwm2m.example.com")], serverName.read],
  ["renegotiation_info", [renegotiationInfo.write()], renegotiationInfo.read],
  [
    "client_certificate_type",
    [certificateTypes.write(ExtensionType.clientCertificateType, [CertificateType.rawPublicKey])],
    (e: Parameters<typeof connectionId.read>[0]) =>
      certificateTypes.read(e, ExtensionType.clientCertificateType),
  ],
  [
    "server_certificate_type, chosen",
    [certificateType.write(ExtensionType.serverCertificateType, CertificateType.rawPublicKey)],
    (e: Parameters<typeof connectionId.read>[0]) =>
      certificateType.read(e, ExtensionType.serverCertificateType),
  ],
] as const) {
  test(`extension ${name}: cut short or too long it is refused`, () => {
    const [{ type, body }] = list;
    assert.notEqual(read([{ type, body }]), undefined);
    for (let length = 0; length < body.length; length++) {
      assert.throws(() => read([{ type, body: body.subarray(0, length) }]), FormatError);
    }
    assert.throws(() => read([{ type, body: concat(body, Uint8Array.of(0)) }]), FormatError);
  });
}

test("RFC 8449 4: a record size limit below 64 is refused; RFC 6066 4: so is code 5", () => {
  assert.throws(() => recordSizeLimit.read([recordSizeLimit.write(63)]), FormatError);
  assert.throws(() => maxFragmentLength.read([maxFragmentLength.write(8_192)]), FormatError);
});

test("RFC 5246 7.4.1.4: an extension that comes twice is refused", () => {
  const [hello] = bodies(HandshakeType.clientHello);
  assert.ok(hello !== undefined);
  const decoded = decodeClientHello(hello);
  const twice = { type: 23, body: EMPTY };
  const bytes = encodeClientHello({ ...decoded, extensions: [twice, twice] });
  assert.throws(() => decodeClientHello(bytes), FormatError);
});

test("CVE-2021-42143: an odd list of suites is refused, and so is an empty one", () => {
  const [hello] = bodies(HandshakeType.clientHello);
  const decoded = decodeClientHello(hello ?? EMPTY);
  const bytes = encodeClientHello({ ...decoded, cookie: EMPTY, sessionId: EMPTY, extensions: [] });
  for (const length of [0, 1, 3]) {
    const bent = concat(bytes.subarray(0, 36), Uint8Array.of(0, length), bytes.subarray(38));
    assert.throws(() => decodeClientHello(bent), FormatError, `${length}`);
  }
  assert.equal(new Reader(bytes).left, bytes.length);
});

test("GnuTLS 1811, CVE-2022-29190: a fragment without a byte in a message with some is refused", () => {
  const fragment = { type: 1, length: 10, messageSeq: 0, offset: 4, body: EMPTY };
  assert.throws(() => readFragments(writeFragment(fragment)), FormatError);
  assert.equal(readFragments(wholeMessage(14, 2, EMPTY)).length, 1);
});

test("CVE-2026-33845: a fragment that reaches beyond its message is refused", () => {
  const fragment = { type: 1, length: 10, messageSeq: 0, offset: 8, body: new Uint8Array(3) };
  assert.throws(() => readFragments(writeFragment(fragment)), FormatError);
});

function cookieLength(sample: Uint8Array): number {
  return sample[35 + sample[34]!] ?? 0; // after the session id
}

function suitesLength(sample: Uint8Array): number {
  const at = 36 + sample[34]! + cookieLength(sample); // after the cookie
  return 2 + ((sample[at]! << 8) | sample[at + 1]!);
}
