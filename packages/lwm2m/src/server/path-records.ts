import { FormatError, Reader, Writer, fromUtf8, utf8, type Path } from "@godwit/base";

// The path of a session that proves nothing, as the store keeps it:
//   (length 1, host, port 2) of our end, the same of the peer's

export function encodePath({ local, remote }: Path): Uint8Array {
  const w = new Writer(48);
  for (const { host, port } of [local, remote]) {
    w.prefixed(1, (inner) => inner.append(utf8(host))).u16(port);
  }
  return w.bytes();
}

export function decodePath(bytes: Uint8Array): Path {
  const r = new Reader(bytes);
  const [local, remote] = [0, 1].map(() => ({ host: fromUtf8(r.take(r.u8())), port: r.u16() }));
  r.end("the session record");
  for (const end of [local, remote])
    if (end === undefined || !HOST.test(end.host) || end.port === 0)
      throw new FormatError("session record without an address");
  return { local: local!, remote: remote! }; // two were read
}

/** An IP address as it is printed, with a zone maybe. */
const HOST = /^[0-9a-f:.]+(?:%[\w.-]+)?$/i;
/** Paths of sessions that prove nothing, by the session's number. */
export const SESSION_TABLE = "session";
