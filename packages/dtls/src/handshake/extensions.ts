import { FormatError, Reader, Writer, fromUtf8, utf8 } from "@godwit/base";
import { ExtensionType, Group } from "../codes.ts";

/** Extensions in the order they were sent. Unknown ones are kept: the rules for them differ by message. */
export type Extensions = readonly Extension[];
export type Extension = { readonly type: number; readonly body: Uint8Array };

/** Reads the block to the end of the message; none at all is legal (RFC 5246 7.4.1.2). */
export function readExtensions(reader: Reader): Extensions {
  if (reader.left === 0) return [];
  const block = reader.sub(reader.u16());
  reader.end("extensions");
  const extensions: Extension[] = [];
  const seen = new Set<number>();
  while (block.left > 0) {
    const type = block.u16();
    if (seen.has(type)) throw new FormatError(`extension ${type} twice`);
    if (extensions.length === MAX_EXTENSIONS) throw new FormatError("too many extensions");
    seen.add(type);
    extensions.push({ type, body: block.take(block.u16()) });
  }
  return extensions;
}

/** Writes the block, or nothing where there are no extensions. */
export function writeExtensions(writer: Writer, extensions: Extensions): void {
  if (extensions.length === 0) return;
  writer.prefixed(2, (w) => {
    for (const { type, body } of extensions) w.u16(type).prefixed(2, (b) => b.append(body));
  });
}

export function findExtension(extensions: Extensions, type: number): Uint8Array | undefined {
  return extensions.find((extension) => extension.type === type)?.body;
}

/** Whether an extension without content is there; FormatError if it has content. */
export function hasFlag(extensions: Extensions, type: number): boolean {
  const body = findExtension(extensions, type);
  if (body === undefined) return false;
  if (body.length > 0) throw new FormatError(`extension ${type} has content`);
  return true;
}

export function flag(type: number): Extension {
  return { type, body: new Uint8Array(0) };
}

/** connection_id: the id its sender wants to receive, maybe empty (RFC 9146 3). */
export const connectionId = {
  write: (cid: Uint8Array): Extension =>
    extension(ExtensionType.connectionId, (w) => w.prefixed(1, (b) => b.append(cid))),
  read: (extensions: Extensions): Uint8Array | undefined =>
    whole(extensions, ExtensionType.connectionId, (r) => r.take(r.u8())),
};

/** record_size_limit: the largest plaintext its sender takes (RFC 8449 4). */
export const recordSizeLimit = {
  write: (limit: number): Extension =>
    extension(ExtensionType.recordSizeLimit, (w) => w.u16(limit)),
  read: (extensions: Extensions): number | undefined =>
    whole(extensions, ExtensionType.recordSizeLimit, (r) => {
      const limit = r.u16();
      if (limit < 64) throw new FormatError("record size limit below 64");
      return limit;
    }),
};

/** max_fragment_length: 512, 1024, 2048 or 4096 bytes (RFC 6066 4). */
export const maxFragmentLength = {
  write: (length: number): Extension =>
    extension(ExtensionType.maxFragmentLength, (w) => w.u8(Math.log2(length) - 8)),
  read: (extensions: Extensions): number | undefined =>
    whole(extensions, ExtensionType.maxFragmentLength, (r) => {
      const code = r.u8();
      if (code < 1 || code > 4) throw new FormatError("no such maximum fragment length");
      return 2 ** (code + 8);
    }),
};

export const supportedGroups = {
  write: (groups: readonly number[]): Extension =>
    extension(ExtensionType.supportedGroups, (w) =>
      w.prefixed(2, (b) => groups.forEach((group) => b.u16(group))),
    ),
  read: (extensions: Extensions): readonly number[] | undefined =>
    whole(extensions, ExtensionType.supportedGroups, (r) => u16s(r.sub(r.u16()))),
};

export const signatureAlgorithms = {
  write: (schemes: readonly number[]): Extension =>
    extension(ExtensionType.signatureAlgorithms, (w) =>
      w.prefixed(2, (b) => schemes.forEach((scheme) => b.u16(scheme))),
    ),
  read: (extensions: Extensions): readonly number[] | undefined =>
    whole(extensions, ExtensionType.signatureAlgorithms, (r) => u16s(r.sub(r.u16()))),
};

/** ec_point_formats with the one format that is left, uncompressed (RFC 8422 5.1.2). */
export const ecPointFormats = {
  write: (): Extension => extension(ExtensionType.ecPointFormats, (w) => w.u8(1).u8(0)),
};

/** Certificate types of a ClientHello: what it takes or can show, best first (RFC 7250 3). */
export const certificateTypes = {
  write: (
    type: typeof ExtensionType.clientCertificateType | typeof ExtensionType.serverCertificateType,
    types: readonly number[],
  ): Extension => extension(type, (w) => w.prefixed(1, (b) => types.forEach((t) => b.u8(t)))),
  read: (extensions: Extensions, type: number): readonly number[] | undefined =>
    whole(extensions, type, (r) => {
      const types = [...r.take(r.u8())];
      if (types.length === 0) throw new FormatError("no certificate types");
      return types;
    }),
};

/** The one certificate type that a ServerHello chose. */
export const certificateType = {
  write: (type: number, chosen: number): Extension => extension(type, (w) => w.u8(chosen)),
  read: (extensions: Extensions, type: number): number | undefined =>
    whole(extensions, type, (r) => r.u8()),
};

/** server_name with one host name (RFC 6066 3). */
export const serverName = {
  write: (name: string): Extension =>
    extension(ExtensionType.serverName, (w) =>
      w.prefixed(2, (list) => list.u8(0).prefixed(2, (b) => b.append(utf8(name)))),
    ),
  read: (extensions: Extensions): string | undefined =>
    whole(extensions, ExtensionType.serverName, (r) => {
      const list = r.sub(r.u16());
      let name: string | undefined;
      while (list.left > 0) {
        const type = list.u8();
        const value = list.take(list.u16());
        if (type === 0) name ??= fromUtf8(value);
      }
      if (name === undefined) throw new FormatError("no host name in server_name");
      return name;
    }),
};

/** renegotiation_info of a first handshake: it has nothing to confirm (RFC 5746 3.4). */
export const renegotiationInfo = {
  write: (): Extension => extension(ExtensionType.renegotiationInfo, (w) => w.u8(0)),
  read: (extensions: Extensions): boolean =>
    whole(extensions, ExtensionType.renegotiationInfo, (r) => {
      if (r.u8() !== 0) throw new FormatError("renegotiation_info confirms a handshake");
      return true;
    }) ?? false,
};

export const namedGroups: readonly number[] = [Group.x25519, Group.secp256r1];

function extension(type: number, body: (w: Writer) => void): Extension {
  const writer = new Writer(16);
  body(writer);
  return { type, body: writer.bytes() };
}

function whole<T>(
  extensions: Extensions,
  type: number,
  read: (reader: Reader) => T,
): T | undefined {
  const body = findExtension(extensions, type);
  if (body === undefined) return undefined;
  const reader = new Reader(body);
  const value = read(reader);
  reader.end(`extension ${type}`);
  return value;
}

function u16s(reader: Reader): number[] {
  const list: number[] = [];
  while (reader.left > 0) list.push(reader.u16());
  if (list.length === 0) throw new FormatError("empty list");
  return list;
}

/** More than any client sends; bounds the work of one hello. */
const MAX_EXTENSIONS = 64;
