import { createHash } from "node:crypto";
import { utf8 } from "@godwit/base";
import type { Store } from "@godwit/io";
import { DTLS_TABLES as TABLES, type DtlsRow } from "@godwit/lwm2m";
import type { DtlsSecurity } from "./security.ts";

/**
 * What an earlier run kept of its sessions of DTLS, if it was set up as this one is. A session was agreed with a server that
 * the settings of then trusted: who was told to trust another has none, and what was kept is dropped.
 */
export function keptSessions(records: Store, security: DtlsSecurity): readonly DtlsRow[] {
  const rows = Object.values(TABLES).flatMap((table) =>
    [...records.load(table)].map((row) => ({ table, ...row })),
  );
  const settings = digestOf(security);
  for (const { key, value } of records.load(TABLE)) {
    if (key === KEY && Buffer.from(value).equals(settings)) return rows;
  }
  const dropped = rows.map(({ table, key }) => ({ table, key, value: undefined }));
  records.write([...dropped, { table: TABLE, key: KEY, value: settings }], () => {
    // Should this not be kept, the next start drops what this one made: a handshake more.
  });
  return [];
}

/** Of what is public in the settings: who the device is, and whom it trusts. */
function digestOf(security: DtlsSecurity): Uint8Array {
  const hash = createHash("sha256");
  const add = (part: string | Uint8Array): void => {
    const bytes = typeof part === "string" ? utf8(part) : part;
    hash.update(`${bytes.length}:`).update(bytes);
  };
  add(security.kind);
  if (security.kind === "psk") {
    add(security.identity);
    return hash.digest();
  }
  const { shown, server } = security;
  add(shown.key.spki);
  for (const one of shown.kind === "x509" ? shown.chain : []) add(one);
  add(server.kind);
  if (server.kind === "publicKey") add(server.spki);
  else {
    for (const one of server.anchors) add(one);
    add(`usage ${server.usage?.usage ?? "none"}`);
    if (server.usage !== undefined) add(server.usage.certificate);
    add(server.serverName ?? "");
  }
  return hash.digest();
}

const TABLE = "settings";
const KEY = "dtls";
