import { EMPTY, FormatError, hex, toHex } from "@godwit/base";
import { ContentType, HandshakeType } from "./codes.ts";
import { decodeClientHello } from "./handshake/client-hello.ts";
import { connectionId } from "./handshake/extensions.ts";
import { readFragments } from "./handshake/header.ts";
import { decodeServerHello } from "./handshake/server-hello.ts";
import { keyBlock } from "./keys.ts";
import { readRecord } from "./record/header.ts";
import { openRecord } from "./record/protection.ts";
import { suiteOf, type Suite } from "./suites.ts";

export type SeenDatagram = { readonly from: "client" | "server"; readonly bytes: Uint8Array };

/** What a datagram carries, in order. */
export type Dissected =
  /** A message of DTLS itself, by its name in the RFCs: "ClientHello". */
  | { readonly type: "message"; readonly name: string }
  | { readonly type: "data"; readonly bytes: Uint8Array };

/**
 * Reads the traffic between one client and its server the way an observer with a key log does: handshakes in whole
 * messages, and everything after them that the log has keys for. @throws FormatError for what is no DTLS 1.2
 */
export function dissect(
  datagrams: readonly SeenDatagram[],
  keyLog: readonly string[],
): readonly (readonly Dissected[])[] {
  const masters = new Map(
    keyLog.map((line) => line.split(" ")).map(([, random = "", master = ""]) => [random, master]),
  );
  const cids = { client: EMPTY, server: EMPTY };
  let clientRandom = EMPTY;
  let keys: { client: Uint8Array; server: Uint8Array; suite: Suite } | undefined;

  const plain = (fragment: Uint8Array): readonly Dissected[] =>
    readFragments(fragment).map(({ type, body }) => {
      if (type === HandshakeType.clientHello) {
        const hello = decodeClientHello(body);
        clientRandom = hello.random;
        cids.client = connectionId.read(hello.extensions) ?? EMPTY;
      } else if (type === HandshakeType.serverHello) {
        const hello = decodeServerHello(body);
        cids.server = connectionId.read(hello.extensions) ?? EMPTY;
        const suite = suiteOf(hello.suite);
        const master = masters.get(toHex(clientRandom));
        if (suite === undefined || master === undefined) throw new FormatError("no key for it");
        const randoms = { client: clientRandom, server: hello.random };
        keys = { ...keyBlock(suite.cipher, hex(master), randoms), suite };
      }
      return { type: "message", name: handshakeName(type) };
    });

  const sealed = (
    from: "client" | "server",
    record: ReturnType<typeof readRecord>,
  ): readonly Dissected[] => {
    if (keys === undefined) throw new FormatError("a protected record before its handshake");
    const opened = openRecord(keys.suite.cipher, keys[from], record);
    if (!opened.ok) throw new FormatError(`the record does not open: ${opened.why}`);
    if (opened.type === ContentType.applicationData)
      return [{ type: "data", bytes: opened.content }];
    if (opened.type !== ContentType.handshake)
      return [{ type: "message", name: contentName(opened.type) }];
    return readFragments(opened.content).map(({ type }) => ({
      type: "message",
      name: handshakeName(type),
    }));
  };

  return datagrams.map(({ from, bytes }) => {
    const found: Dissected[] = [];
    for (let at = 0; at < bytes.length;) {
      // Records carry the id that their receiver chose.
      const cid = from === "client" ? cids.server : cids.client;
      const record = readRecord(bytes, at, cid.length);
      at += record.size;
      if (record.epoch > 0) found.push(...sealed(from, record));
      else if (record.type === ContentType.handshake) found.push(...plain(record.fragment));
      else found.push({ type: "message", name: contentName(record.type) });
    }
    return found;
  });
}

function handshakeName(type: number): string {
  return capital(nameIn(HandshakeType, type) ?? `handshake type ${type}`);
}

function contentName(type: number): string {
  return capital(nameIn(ContentType, type) ?? `content type ${type}`);
}

function nameIn(codes: Readonly<Record<string, number>>, code: number): string | undefined {
  return Object.entries(codes).find(([, value]) => value === code)?.[0];
}

function capital(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
