import { EMPTY, concat } from "@godwit/base";
import {
  answerCookie,
  counter,
  hello,
  helloFragment,
  noise,
  ofVersion,
  pieces,
  record,
  repeated,
  unsealed,
} from "./datagrams.ts";
import { sorts, type Kind, type Known, type Sort } from "./sort.ts";

/** What names nothing known: all of it should cost no more than a record of an unknown Connection ID, twice at most. */
const OF_NOBODY: Kind = { against: "unknown CID", atMost: 2, port: "coaps", from: "many" };
/** What names an association: no more than what the cheapest valid record costs. */
const OF_DEVICES: Kind = { against: "ping over CID", atMost: 1.2, port: "coaps", from: "many" };
/** What asks for a cookie, or has one. */
const OF_NEWCOMERS: Kind = {
  against: "resumed handshake",
  atMost: 1.2,
  port: "coaps",
  from: "many",
};

export const DTLS_SORTS: readonly Sort[] = [
  ...sorts(OF_NOBODY, {
    "unknown CID": (_, n) => unsealed(counter(n), n, n),
    "no record type": (_, n) => concat(Uint8Array.of(0x47), noise(n, 40)),
    "record header cut short": (_, n) => record(22, 0, n, noise(n, 20)).subarray(0, 9),
    "record longer than its datagram": (_, n) => record(22, 0, n, noise(n, 60)).subarray(0, 40),
    "another version": (_, n) => ofVersion(record(22, 0, n, noise(n, 20)), 0x0303),
    "epoch 1 without association": (_, n) => record(23, 1, n, noise(n, 40)),
    "empty handshake record": (_, n) => record(22, 0, n, EMPTY),
    "107 empty handshake records": (_, n) => repeated(107, record(22, 0, n, EMPTY)),
    "40 records of noise": (_, n) => repeated(40, record(22, 0, n, noise(n, 24))),
    "handshake record of noise": (_, n) => record(22, 0, n, noise(n, 60)),
    "plain alert": (_, n) => record(21, 0, n, Uint8Array.of(2, 40)),
    "plain ChangeCipherSpec": (_, n) => record(20, 0, n, Uint8Array.of(1)),
    "plain application data": (_, n) => record(23, 0, n, noise(n, 30)),
    "later fragment of a hello": (_, n) => helloFragment(n, 60, 90),
    "first fragment of a hello, too short": (_, n) => helloFragment(n, 0, 20),
    "hello with an odd list of suites": (_, n) => hello({ n, suites: noise(n, 3) }),
    "hello without null compression": (_, n) => hello({ n, compression: 1 }),
  }),
  ...sorts(OF_DEVICES, {
    "known CID, does not verify": (k, n) => unsealed(cidOf(k, n), AHEAD + n, n),
    "known CID, 20 records": (k, n) => repeated(20, unsealed(cidOf(k, n), AHEAD + n, n)),
    "known CID, shorter than its tag": (k, n) => unsealed(cidOf(k, n), AHEAD + n, n, { length: 8 }),
    "known CID, old number": (k, n) => unsealed(cidOf(k, n), 0, n),
    "known CID, another epoch": (k, n) => unsealed(cidOf(k, n), n, n, { epoch: 2 }),
  }),
  ...sorts(
    { ...OF_DEVICES, from: "known" },
    {
      "known path, epoch 1 without CID": (_, n) => record(23, 1, n, noise(n, 40)),
      "known path, plain alert": (_, n) => record(21, 0, n, Uint8Array.of(2, 40)),
      "known path, handshake record of noise": (_, n) => record(22, 0, n, noise(n, 60)),
      "known path, 107 empty handshake records": (_, n) => repeated(107, record(22, 0, n, EMPTY)),
      "known path, plain application data": (_, n) => record(23, 0, n, noise(n, 30)),
    },
  ),
  ...sorts(OF_NEWCOMERS, {
    "hello without cookie": (_, n) => hello({ n }),
    "hello with a wrong cookie": (_, n) => hello({ n, cookie: noise(n, 8) }),
    "12 hellos without cookie": (_, n) => repeated(12, hello({ n })),
  }),
  ...sorts(
    { ...OF_NEWCOMERS, from: "host", reply: answerCookie },
    {
      "hello with cookie, then silence": (_, n) => hello({ n }),
      "hello with cookie, bad extensions": (_, n) => hello({ n, extensions: noise(n, 7) }),
    },
  ),
  ...sorts(
    { ...OF_NEWCOMERS, from: "halfOpen" },
    {
      "half-open handshake, 90 fragments of one byte": (_, n) => pieces(n, 6, 15, "gaps"),
      "half-open handshake, 90 fragments in a run": (_, n) => pieces(n, 6, 15, "run"),
      "half-open handshake, empty records": (_, n) => repeated(50, record(22, 0, n, EMPTY)),
      "half-open handshake, records of epoch 1": (_, n) =>
        repeated(20, record(23, 1, n, noise(n, 40))),
    },
  ),
];

function cidOf({ cids }: Known, n: number): Uint8Array {
  return cids[n % cids.length]!; // within
}

/** Record numbers that no device has come to. */
const AHEAD = 100_000;
