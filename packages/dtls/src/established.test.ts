import assert from "node:assert/strict";
import { test } from "node:test";
import { hex, seededRng, toHex, utf8, type Path } from "@godwit/base";
import { Association, type AssociationState } from "./association.ts";
import { Alert, ContentType } from "./codes.ts";
import { Established, type Host } from "./established.ts";
import type { DtlsOutput } from "./events.ts";
import { KeySlab } from "./keys.ts";
import { readRecord } from "./record/header.ts";
import { decodeRoutability, encodeRoutability } from "./rrc.ts";
import { SUITES } from "./suites.ts";
import { DEFAULT_TUNING, type DtlsTuning } from "./tuning.ts";

const at = (port: number): Path => ({
  local: { host: "198.51.100.1", port: 5_684 },
  remote: { host: "192.0.2.7", port },
});
const HOME = at(1);
const AWAY = at(2);
const NOW = 50_000;
const CID = hex("c1d0");
const READ = new Uint8Array(20).fill(1);
const WRITE = new Uint8Array(20).fill(2);

/** One end of an association and its peer, and all that the end asks of the machine around it. */
class End {
  readonly rng = seededRng(1);
  readonly log: string[] = [];
  readonly sent: { path: Path; bytes: Uint8Array }[] = [];
  readonly answers: ((ok: boolean) => void)[] = [];
  readonly own: Association;
  readonly peer: Association;
  readonly established: Established;

  constructor(
    over: Partial<Host> & { tuning?: DtlsTuning } = {},
    state: Partial<AssociationState> = {},
  ) {
    const suite = SUITES[0]!; // there are eleven
    const common = {
      suite,
      identity: { kind: "psk", identity: "dev01" },
      generation: 1,
      path: HOME,
      peerLimit: 2 ** 14,
      routability: true,
      sessionId: hex("5e"),
    } as const;
    const slab = new KeySlab();
    this.own = new Association(
      {
        ...common,
        session: 7,
        ownCid: CID,
        peerCid: CID,
        readKeys: READ,
        writeKeys: WRITE,
        ...state,
      },
      slab,
      64,
      0,
    );
    this.peer = new Association(
      { ...common, session: 8, ownCid: CID, peerCid: CID, readKeys: WRITE, writeKeys: READ },
      slab,
      64,
      0,
    );
    this.established = new Established({
      tuning: DEFAULT_TUNING,
      rng: this.rng,
      durable: false,
      isKept: () => true,
      follows: true,
      output: (output) => this.#note(output),
      seal: (plain) => plain,
      store: (_, then) => void this.answers.push(then),
      end: (_, why) => void this.log.push(`end: ${why}`),
      rebind: (association, path, proven) => {
        association.path = path;
        this.log.push(`rebind ${path?.remote.port} ${proven ? "proven" : "claimed"}`);
      },
      deadline: (_, when) => void this.log.push(`deadline ${when}`),
      forgetSession: () => void this.log.push("forget session"),
      ...over,
    });
  }

  #note(output: DtlsOutput): void {
    if (output.type === "datagram") this.sent.push(output);
    else if (output.type === "received")
      this.log.push(`received ${new TextDecoder().decode(output.bytes)}${output.fresh ? "" : "?"}`);
    else if (output.type === "moved") this.log.push(`moved ${output.validated}`);
    else this.log.push(output.type);
  }

  /** A record of the peer, to be delivered whenever. */
  record(type: number, content: Uint8Array): Uint8Array {
    return this.peer.seal(type, content, this.rng);
  }

  deliver(bytes: Uint8Array, path = HOME, now = NOW): boolean {
    return this.established.receive(this.own, readRecord(bytes, 0, 2), path, now);
  }

  tell(type: number, content: Uint8Array, path = HOME, now = NOW): void {
    assert.equal(this.deliver(this.record(type, content), path, now), true);
  }

  data(text: string, path = HOME, now = NOW): void {
    this.tell(ContentType.applicationData, utf8(text), path, now);
  }

  /** What was logged since the last look. */
  get logged(): string[] {
    return this.log.splice(0);
  }

  /** What went out since the last look: to which port, of which type, and what is in it. */
  get out(): string[] {
    return this.sent.splice(0).map(({ path, bytes }) => {
      const opened = this.peer.open(readRecord(bytes, 0, 2));
      assert.ok(opened.ok);
      return `${path.remote.port} ${opened.type} ${toHex(opened.content)}`;
    });
  }

  drops(reason: string): number {
    return this.own.ledger.snapshot().drops[reason] ?? 0;
  }
}

const tuned = (over: Partial<DtlsTuning>): { tuning: DtlsTuning } => ({
  tuning: { ...DEFAULT_TUNING, ...over },
});
const challenge = (cookie: string, type: "challenge" | "response" | "drop" = "challenge") =>
  encodeRoutability({ type, cookie: hex(cookie) });
const cookieOf = (line: string | undefined): Uint8Array =>
  decodeRoutability(hex(line?.split(" ")[2] ?? ""))?.cookie ?? new Uint8Array(0);

for (const [what, alert, log, out, drops] of [
  ["close_notify is answered with it", [1, 0], ["end: closed by peer"], ["1 21 0100"], 0],
  [
    "a fatal one ends it, resumption too",
    [2, 40],
    ["forget session", "end: peer's alert 40"],
    [],
    0,
  ],
  ["a warning changes nothing", [1, 90], [], [], 0],
  ["a level that is none changes nothing", [3, 40], [], [], 0],
  ["one byte is no alert", [2], [], [], 1],
  ["three bytes are no alert", [2, 40, 0], [], [], 1],
] as const) {
  test(`RFC 5246 7.2, alert: ${what}`, () => {
    const end = new End();
    end.tell(ContentType.alert, Uint8Array.from(alert));
    assert.deepEqual(end.logged, log);
    assert.deepEqual(end.out, out);
    assert.equal(end.drops("badAlert"), drops);
  });
}

test("RFC 6347 4.1.2.6: a record is received once, and one that does not verify is counted until there are too many", () => {
  const end = new End(tuned({ forgeryLimit: 2 }));
  const record = end.record(ContentType.applicationData, utf8("a"));
  assert.equal(end.deliver(record), true);
  assert.equal(end.deliver(record), false);
  assert.deepEqual(end.logged, ["received a"]);
  assert.equal(end.drops("replayed"), 1);
  assert.equal(end.own.forgeries, 0);
  for (const log of [[], ["end: too many forged records"]]) {
    const forged = end.record(ContentType.applicationData, utf8("b"));
    forged[forged.length - 1]! ^= 1; // there is a tag
    assert.equal(end.deliver(forged, AWAY), false);
    assert.deepEqual(end.logged, log);
  }
  assert.equal(end.own.isAt(HOME), true);
});

test("RFC 6347 4.1: a record of an epoch that has no keys is counted as such, and is no forgery", () => {
  const end = new End(tuned({ forgeryLimit: 1 }));
  for (const epoch of [0, 2, 0xffff]) {
    const record = end.record(ContentType.applicationData, utf8("a"));
    record[3] = epoch >>> 8;
    record[4] = epoch;
    assert.equal(end.deliver(record), false);
  }
  assert.equal(end.drops("epoch"), 3);
  assert.equal(end.own.forgeries, 0);
  assert.deepEqual(end.logged, []);
});

test("RFC 9146 6: only the newest record moves the path, and only of a peer that may move", () => {
  const end = new End();
  const late = end.record(ContentType.applicationData, utf8("late"));
  end.data("new");
  end.deliver(late, AWAY);
  assert.deepEqual(end.logged, ["received new", "received late"]);
  assert.equal(end.own.isAt(HOME), true);
  const client = new End({ follows: false });
  client.data("a", AWAY);
  assert.equal(client.own.isAt(HOME), true);
  assert.equal(client.drops("elsewhere"), 1);
  assert.equal(client.own.ledger.addressChanges, 0);
});

test("RFC 9853 5.1: a new address is asked at once, and its answer, from there, proves it", () => {
  const end = new End();
  end.data("a", AWAY);
  assert.deepEqual(end.logged, [
    "deadline undefined",
    "rebind 2 claimed",
    "moved false",
    `deadline ${NOW + 1_000}`,
    "received a",
  ]);
  assert.equal(end.own.ledger.addressChanges, 1);
  const [asked] = end.out;
  assert.match(asked ?? "", /^2 27 00/);
  const answer = encodeRoutability({ type: "response", cookie: cookieOf(asked) });
  end.tell(ContentType.returnRoutabilityCheck, challenge("0102030405060708", "response"), AWAY);
  assert.equal(end.drops("strayRoutability"), 1, "of another cookie");
  assert.notEqual(end.own.claim, undefined);
  end.tell(ContentType.returnRoutabilityCheck, answer, AWAY);
  assert.deepEqual(end.logged, ["rebind 2 proven", "deadline undefined", "validated"]);
  assert.equal(end.own.claim, undefined);
  end.tell(ContentType.returnRoutabilityCheck, answer, AWAY);
  assert.equal(end.drops("strayRoutability"), 2, "there is no claim any more");
});

test("RFC 9853 5: an address that does not answer is asked tuning.maxChallenges times, then the peer is where it was", () => {
  const end = new End(tuned({ maxChallenges: 2 }));
  end.data("a", AWAY);
  end.established.expire(end.own, NOW + 999);
  assert.equal(end.out.length, 1, "it is not time");
  end.established.expire(end.own, NOW + 1_000);
  assert.equal(end.out.length, 1);
  assert.equal(end.own.claim?.deadline, NOW + 2_000);
  assert.equal(end.own.claim.cookies.length, 2);
  void end.logged;
  end.established.expire(end.own, NOW + 2_000);
  assert.deepEqual(end.out, []);
  assert.deepEqual(end.logged, ["deadline undefined", "rebind 1 proven", "moved true"]);
  assert.equal(end.own.claim, undefined);
});

test("RFC 9853 5.2: enhanced, the old address is asked first; drop or silence there leads to the new one", () => {
  for (const drops of [true, false]) {
    const end = new End(tuned({ routabilityCheck: "enhanced" }));
    end.data("a", AWAY);
    const [old] = end.out;
    assert.match(old ?? "", /^1 27 00/);
    end.tell(ContentType.returnRoutabilityCheck, challenge("0102030405060708", "drop"), AWAY);
    assert.equal(end.drops("strayRoutability"), 1, "of another cookie");
    if (drops) {
      const left = encodeRoutability({ type: "drop", cookie: cookieOf(old) });
      end.tell(ContentType.returnRoutabilityCheck, left, AWAY);
    } else end.established.expire(end.own, NOW + 1_000);
    const [asked] = end.out;
    assert.match(asked ?? "", /^2 27 00/);
    assert.equal(
      end.own.claim?.cookies.length,
      1,
      "the old address's cookie is good for nothing now",
    );
    const answer = encodeRoutability({ type: "response", cookie: cookieOf(asked) });
    end.tell(ContentType.returnRoutabilityCheck, answer, AWAY);
    assert.equal(end.own.claim, undefined);
  }
});

test("RFC 9853 5.2: a record from the old address while it is asked brings the peer back there", () => {
  const end = new End(tuned({ routabilityCheck: "enhanced" }));
  end.data("a", AWAY);
  void end.logged;
  end.data("b");
  assert.deepEqual(end.logged, [
    "deadline undefined",
    "rebind 1 proven",
    "moved true",
    "received b",
  ]);
  assert.equal(end.own.claim, undefined);
});

test("RFC 9853 4: a challenge is answered once, to where it came from; who did not agree on it is not", () => {
  const end = new End();
  const asked = challenge("0102030405060708");
  const late = end.record(ContentType.returnRoutabilityCheck, asked);
  end.data("newer");
  end.deliver(late, AWAY);
  assert.deepEqual(end.out, ["2 27 010102030405060708"]);
  end.tell(ContentType.returnRoutabilityCheck, hex("0001"));
  assert.equal(end.drops("badRoutability"), 1);
  end.tell(ContentType.returnRoutabilityCheck, hex("0701"));
  assert.equal(end.drops("unknownRoutability"), 1);
  const without = new End({}, { routability: false });
  without.tell(ContentType.returnRoutabilityCheck, asked);
  assert.deepEqual(without.out, []);
  assert.equal(without.drops("innerType"), 1);
});

test("RFC 9853 4: at most three bytes go to an unproven address for each byte from it", () => {
  const end = new End(tuned({ routabilityCheck: "off" }));
  const record = end.record(ContentType.applicationData, utf8("12345678"));
  end.deliver(record, AWAY);
  const size = record.length;
  const overhead = size - 8;
  end.established.send(end.own, new Uint8Array(3 * size - overhead + 1));
  assert.equal(end.sent.length, 0);
  assert.equal(end.drops("addressUnproven"), 1);
  end.established.send(end.own, new Uint8Array(2 * size - overhead));
  end.established.send(end.own, new Uint8Array(size - overhead));
  assert.equal(end.sent.length, 2, "to the last byte");
  end.established.send(end.own, new Uint8Array(0));
  assert.equal(end.drops("addressUnproven"), 2);
  end.deliver(end.record(ContentType.applicationData, utf8("12345678")), AWAY);
  end.established.send(end.own, new Uint8Array(3 * size - overhead));
  assert.equal(end.sent.length, 3, "more came from there");
  end.established.validated(end.own);
  end.established.send(end.own, new Uint8Array(1_000));
  assert.equal(end.sent.length, 4);
});

test("in doubt after a restart: what is received says so until freshness is shown, and a claim that nobody checks ends", () => {
  const end = new End(tuned({ routabilityCheck: "off" }));
  end.own.doubtful = true;
  end.data("a", AWAY);
  assert.deepEqual(end.logged.slice(-2), [`deadline ${NOW + 10_000}`, "received a?"]);
  end.established.expire(end.own, NOW + 9_999);
  assert.deepEqual(end.logged, []);
  end.established.expire(end.own, NOW + 10_000);
  assert.deepEqual(end.logged, ["deadline undefined", "rebind 1 proven", "moved true"]);
  end.data("b", AWAY);
  const late = end.record(ContentType.applicationData, utf8("late"));
  end.data("c", AWAY);
  void end.logged;
  end.established.fresh(end.own);
  assert.deepEqual(end.logged, ["deadline undefined"]);
  assert.equal(end.deliver(late, AWAY), false, "what is older than that is too old");
  end.established.fresh(end.own);
  end.data("d", AWAY);
  assert.deepEqual(end.logged, ["received d"]);
});

test("in doubt, a peer that knows RFC 9853 is asked where it is, and its answer is fresh", () => {
  const end = new End();
  end.own.doubtful = true;
  end.data("a");
  const [asked] = end.out;
  assert.match(asked ?? "", /^1 27 00/);
  const answer = encodeRoutability({ type: "response", cookie: cookieOf(asked) });
  end.tell(ContentType.returnRoutabilityCheck, answer);
  assert.equal(end.own.doubtful, false);
  void end.logged;
  end.data("b");
  assert.deepEqual(end.logged, ["received b"]);
  assert.deepEqual(end.out, [], "it is not asked again");
});

test("no record goes out under a number that is not reserved; what waits goes out once the store has it", () => {
  const end = new End({ durable: true, ...tuned({ maxHeld: 2, stride: 4 }) });
  end.own.reserved = 0;
  for (const byte of [1, 2, 3]) end.established.send(end.own, Uint8Array.of(byte));
  assert.equal(end.sent.length, 0);
  assert.equal(end.drops("heldFull"), 1);
  assert.equal(end.answers.length, 1, "one reservation is under way");
  end.answers.shift()?.(true);
  assert.equal(end.own.reserved, 4);
  assert.deepEqual(end.out, ["1 23 01", "1 23 02"]);
  assert.equal(end.answers.length, 1, "half of them are used");
  end.answers.shift()?.(false);
  assert.equal(end.own.reserved, 4);
  for (const byte of [4, 5, 6]) end.established.send(end.own, Uint8Array.of(byte));
  assert.deepEqual(end.out, ["1 23 04", "1 23 05"]);
  assert.equal(end.answers.length, 1);
  end.answers.shift()?.(true);
  assert.equal(end.own.reserved, 8);
  assert.deepEqual(end.out, ["1 23 06"]);
});

test("what is longer than the peer takes is not sent, nor anything where its path is not known", () => {
  const end = new End({}, { peerLimit: 10 });
  end.established.send(end.own, new Uint8Array(11));
  assert.equal(end.drops("tooLong"), 1);
  end.established.send(end.own, new Uint8Array(10));
  assert.equal(end.sent.length, 1);
  const lost = new End({}, { path: undefined });
  lost.established.send(lost.own, utf8("a"));
  assert.equal(lost.drops("noPath"), 1);
});

test("RFC 6347 4.1: an association ends before its numbers are used up", () => {
  const end = new End(tuned({ sequenceLimit: 2 }));
  for (let i = 0; i < 3; i++) end.established.send(end.own, utf8("a"));
  assert.equal(end.sent.length, 2);
  assert.deepEqual(end.logged, ["end: sequence numbers used up"]);
});

const finished = (messageSeq: number): Uint8Array =>
  Uint8Array.of(20, 0, 0, 12, 0, messageSeq, 0, 0, 0, 0, 0, 12, ...new Uint8Array(12));

/** As after a handshake that this end finished last, at NOW. */
function justOpened(): End {
  const end = new End();
  end.own.lastFlight = {
    items: [{ epoch: 1, type: ContentType.handshake, bytes: finished(7) }],
    asksAgain: 3,
    until: NOW + DEFAULT_TUNING.lastFlightKept,
    plainSequence: 0,
    sentAt: NOW,
  };
  return end;
}

for (const [what, times, answers] of [
  ["at once gets nothing, the answer is on its way", [249], 0],
  ["gets our last flight", [250], 1],
  ["and again gets it once in 250 ms", [250, 499, 500, 501], 2],
  ["four minutes later gets it", [240_000], 1],
  ["later still gets nothing, to the millisecond", [240_001], 0],
] as const) {
  test(`RFC 6347 4.2.4: a Finished that comes again ${what}`, () => {
    const end = justOpened();
    for (const after of times) end.tell(ContentType.handshake, finished(3), HOME, NOW + after);
    assert.deepEqual(end.out, Array(answers).fill(`1 22 ${toHex(finished(7))}`));
  });
}

test("RFC 6347 4.2.4: only the Finished of this handshake asks for our last flight, and only before there was data", () => {
  const end = justOpened();
  end.tell(ContentType.handshake, finished(2), HOME, NOW + 1_000);
  end.data("a", HOME, NOW + 1_000);
  end.tell(ContentType.handshake, finished(3), HOME, NOW + 1_000);
  assert.deepEqual(end.out, []);
  assert.equal(end.drops("lateHandshake"), 2);
});

test("RFC 7925 17: whoever asks to renegotiate is told that it is not done", () => {
  for (const type of [0, 1]) {
    const end = new End();
    end.tell(ContentType.handshake, Uint8Array.of(type, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    assert.deepEqual(end.out, [`1 21 01${Alert.noRenegotiation.toString(16)}`]);
    assert.equal(end.drops("renegotiation"), 1);
  }
  const end = new End();
  end.tell(ContentType.handshake, Uint8Array.of(14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  assert.equal(end.drops("lateHandshake"), 1);
  end.tell(ContentType.handshake, Uint8Array.of(14, 0));
  assert.equal(end.drops("badHandshakeRecord"), 1);
  assert.deepEqual(end.out, []);
});

test("close says so and ends; dismiss says so and does not", () => {
  const end = new End();
  end.established.dismiss(end.own);
  assert.deepEqual(end.out, ["1 21 0100"]);
  assert.deepEqual(end.logged, []);
  end.established.close(end.own);
  assert.deepEqual(end.out, ["1 21 0100"]);
  assert.deepEqual(end.logged, ["end: closed"]);
});

test("every byte is accounted for: content apart, what protects it as record or handshake", () => {
  const end = new End();
  end.data("12345");
  const spent = end.own.ledger.bytes("in", "record");
  assert.equal(spent, end.peer.overhead(5));
  end.established.send(end.own, utf8("123"));
  const [sent] = end.sent;
  assert.equal(end.own.ledger.bytes("out", "record"), (sent?.bytes.length ?? 0) - 3);
  end.established.dismiss(end.own);
  assert.equal(end.own.ledger.bytes("out", "handshake"), end.sent[1]?.bytes.length);
  assert.equal(end.own.ledger.datagramsOut, 2);
  assert.equal(end.own.lastReceived, 50);
});
