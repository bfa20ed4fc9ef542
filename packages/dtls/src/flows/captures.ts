import { readFileSync } from "node:fs";
import { EMPTY, hex, sha256, utf8 } from "@godwit/base";
import { ContentType, ExtensionType, HandshakeType } from "../codes.ts";
import { decodeClientHello } from "../handshake/client-hello.ts";
import { findExtension } from "../handshake/extensions.ts";
import { readFragments } from "../handshake/header.ts";
import { decodeServerHello } from "../handshake/server-hello.ts";
import { extendedMasterSecret, keyBlock, plainMasterSecret, pskPremaster } from "../keys.ts";
import { latin1 } from "../latin1.ts";
import { type Message, Reassembly } from "../reassembly.ts";
import { type DtlsRecord, readRecord } from "../record/header.ts";
import { openRecord } from "../record/protection.ts";
import { DEFAULT_TUNING } from "../tuning.ts";
import { type Suite, suiteOf } from "../suites.ts";

/** Recorded traffic of other stacks, read the way an observer with the key reads it. */
export type Capture = {
  readonly source: string;
  readonly identity: string;
  readonly psk: string;
  readonly cidToServer: string;
  readonly cidToClient: string;
  readonly datagrams: readonly {
    readonly from: Side;
    readonly port: number;
    readonly hex: string;
  }[];
};

export type Side = "client" | "server";

export const CAPTURES = [
  "mbed-dtls12-psk-ccm8-cid",
  "mbedtls-psk-ccm8-nocookie-noems",
  "mbedtls-psk-ccm8-cid-both",
  "mbedtls-psk-ccm8-resume-id",
  "mbedtls-psk-ccm8-resume-ticket",
  "libcoap-mbedtlscli-tinysrv",
  "libcoap-tinydtls-psk-ccm8",
  "wolf-dtls12-psk-ccm8",
  "anjay-dtls-psk-ccm8-cid-rebind",
  "lwm2m-leshan-leshan-dtls-cid",
  "lwm2m-wakaama-tinydtls-leshan",
] as const;

/** Hellos and key exchanges only: its keys are gone. */
export const SEALED_CAPTURE = "libcoap-openssl-psk";

export function capture(name: string): Capture {
  const file = new URL(`../../src/vectors/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")) as Capture;
}

/** Every record of a capture in the order of the wire. */
export function recordsOf(
  recorded: Capture,
): { readonly from: Side; readonly record: DtlsRecord; readonly bytes: Uint8Array }[] {
  return recorded.datagrams.flatMap(({ from, hex: text }) => {
    const bytes = hex(text);
    const cid = hex(from === "client" ? recorded.cidToServer : recorded.cidToClient);
    const records = [];
    for (let at = 0; at < bytes.length;) {
      const record = readRecord(bytes, at, cid.length);
      records.push({ from, record, bytes: bytes.subarray(at, at + record.size) });
      at += record.size;
    }
    return records;
  });
}

/** Handshake messages in the clear, each once, with who sent them. */
export function plainMessagesOf(recorded: Capture): { from: Side; message: Message }[] {
  const found: { from: Side; message: Message }[] = [];
  let parts = newParts();
  let random = "";
  for (const { from, record } of recordsOf(recorded)) {
    if (record.epoch > 0 || record.type !== ContentType.handshake) continue;
    const fragments = readFragments(record.fragment);
    const [first] = fragments;
    if (first?.type === HandshakeType.clientHello && first.messageSeq === 0) {
      const { random: now } = decodeClientHello(first.body);
      if (latin1(now) !== random) parts = newParts();
      random = latin1(now);
    }
    for (const fragment of fragments) parts[from].add(fragment, 0);
    for (let m = parts[from].take(); m; m = parts[from].take()) found.push({ from, message: m });
  }
  return found;
}

export type Secret = {
  readonly suite: Suite;
  readonly master: Uint8Array;
  readonly client: Uint8Array;
  readonly server: Uint8Array;
};

export type OpenedRecord = {
  readonly from: Side;
  readonly record: DtlsRecord;
  readonly bytes: Uint8Array;
  readonly secret: Secret;
  readonly type: number;
  readonly content: Uint8Array;
  /** The transcript before this record's message, for Finished. */
  readonly transcript: readonly Uint8Array[];
};

/** Derives the keys of every handshake in a capture from the PSK alone, and opens every protected record. */
export function openCapture(recorded: Capture): OpenedRecord[] {
  const sessions = new Map<string, Uint8Array>();
  const opened: OpenedRecord[] = [];
  let lastMaster: Uint8Array = EMPTY;
  let sessionKey = "";
  let parts = newParts();
  let transcript: Uint8Array[] = [];
  let randoms = { client: EMPTY, server: EMPTY };
  let suite: Suite | undefined;
  let extended = false;
  let secret: Secret | undefined;
  const settle = (master: Uint8Array): void => {
    lastMaster = master;
    if (suite === undefined) throw new Error("no suite");
    secret = { suite, master, ...keyBlock(suite.cipher, master, randoms) };
  };
  const seen = (message: Message): void => {
    if (message.type === HandshakeType.helloVerifyRequest) {
      transcript = [];
      return;
    }
    if (message.type === HandshakeType.clientHello) transcript = [];
    transcript.push(message.raw);
    if (message.type === HandshakeType.clientHello) {
      randoms = { ...randoms, client: decodeClientHello(message.body).random };
    } else if (message.type === HandshakeType.serverHello) {
      const hello = decodeServerHello(message.body);
      randoms = { ...randoms, server: hello.random };
      suite = suiteOf(hello.suite);
      extended = findExtension(hello.extensions, ExtensionType.extendedMasterSecret) !== undefined;
      const key = latin1(hello.sessionId);
      const asked = decodeClientHello(
        // the hello in the transcript, without its header
        transcript[0]!.subarray(12),
      );
      const resumes = hello.sessionId.length > 0 && latin1(asked.sessionId) === key;
      if (resumes) settle(sessions.get(key) ?? lastMaster);
      else sessions.set(key, EMPTY);
      sessionKey = key;
    } else if (message.type === HandshakeType.clientKeyExchange) {
      const premaster = pskPremaster(hex(recorded.psk));
      settle(
        extended
          ? extendedMasterSecret(premaster, sha256(...transcript))
          : plainMasterSecret(premaster, randoms),
      );
      sessions.set(sessionKey, lastMaster);
    }
  };
  let random = "";
  for (const { from, record, bytes } of recordsOf(recorded)) {
    if (record.epoch === 0) {
      if (record.type !== ContentType.handshake) continue;
      const fragments = readFragments(record.fragment);
      const [first] = fragments;
      if (first?.type === HandshakeType.clientHello && first.messageSeq === 0) {
        const now = latin1(decodeClientHello(first.body).random);
        if (now !== random) parts = newParts();
        random = now;
      }
      for (const fragment of fragments) parts[from].add(fragment, 0);
      for (let m = parts[from].take(); m; m = parts[from].take()) seen(m);
      continue;
    }
    if (secret === undefined) throw new Error("protected record before its keys");
    const result = openRecord(secret.suite.cipher, secret[from], record);
    if (!result.ok) throw new Error(`record does not open: ${result.why}`);
    opened.push({
      from,
      record,
      bytes,
      secret,
      type: result.type,
      content: result.content,
      transcript: [...transcript],
    });
    if (result.type === ContentType.handshake) transcript.push(result.content);
  }
  return opened;
}

export function identityBytes(recorded: Capture): Uint8Array {
  return utf8(recorded.identity);
}

function newParts(): Record<Side, Reassembly> {
  const tuning = {
    maxMessage: DEFAULT_TUNING.maxMessage,
    maxAhead: DEFAULT_TUNING.maxAhead,
    maxBytes: DEFAULT_TUNING.maxReassembly,
    maxPieces: DEFAULT_TUNING.maxPieces,
  };
  return { client: new Reassembly(0, tuning), server: new Reassembly(0, tuning) };
}
