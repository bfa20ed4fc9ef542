import { FormatError, utf8 } from "@godwit/base";
import type { Store, StoreRecord } from "@godwit/io";
import { CREDENTIAL_TABLE, DTLS_TABLES, type CredentialSealer } from "@godwit/lwm2m";
import { SERVER_KEY_TABLE, serverKeyContext } from "./server-key.ts";

/** The master key at hand is not the one that the records in the store are sealed under, or there is none. */
export class MasterKeyError extends Error {
  override readonly name = "MasterKeyError";
  readonly code = "MASTER_KEY";
}

/** Whether the store holds anything that only a master key opens. */
export function holdsSealedRecords(store: Store): boolean {
  for (const _record of sealedRecords(store)) return true;
  return false;
}

/**
 * Refuses a master key that opens nothing in a store with sealed records: with another key endpoints that have credentials
 * would seem to have none. One that opens any of them is the right one; records that it does not open are damaged.
 *
 * Rejects with MasterKeyError that says what to do.
 */
export async function checkMasterKey(
  store: Store,
  sealer: CredentialSealer | undefined,
): Promise<void> {
  let closed = 0;
  let why = "";
  for (const { record, context } of sealedRecords(store)) {
    if (sealer === undefined)
      throw new MasterKeyError(
        "the store holds records that are sealed under a master key: give the server the key they were sealed under",
      );
    const fault = faultOf(record, context, sealer);
    if (fault === undefined) return noteKey(store, sealer);
    closed += 1;
    why ||= fault;
    if (closed === ENOUGH) break;
  }
  if (closed > 0)
    throw new MasterKeyError(
      `the master key opens none of the ${closed === ENOUGH ? "many" : closed} sealed records in the store (the first: ${why}): put back the key they were sealed under. Without it their credentials are lost, and the data directory must be moved away to begin anew`,
    );
  if (sealer !== undefined) await noteKey(store, sealer);
}

/** Keeps what tells the right key by itself, however few records there are: twice, for one may be damaged. */
async function noteKey(store: Store, sealer: CredentialSealer): Promise<void> {
  const there = new Map([...store.load(CHECK_TABLE)].map((record) => [record.key, record]));
  const missing = CHECKS.filter((key) => {
    const record = there.get(key);
    return record === undefined || faultOf(record, checkContext(key), sealer) !== undefined;
  });
  if (missing.length === 0) return;
  const changes = missing.map((key) => {
    return { table: CHECK_TABLE, key, value: sealer.seal(CHECK, checkContext(key)) };
  });
  await new Promise<void>((resolve, reject) => {
    store.write(changes, (fault) => (fault === undefined ? resolve() : reject(fault)));
  });
}

type Sealed = { readonly record: StoreRecord; readonly context: string };

/** Those that are read fastest come first. */
function* sealedRecords(store: Store): Iterable<Sealed> {
  for (const record of store.load(CHECK_TABLE)) yield { record, context: checkContext(record.key) };
  for (const record of store.load(SERVER_KEY_TABLE))
    yield { record, context: serverKeyContext(record.key) };
  for (const record of store.load(CREDENTIAL_TABLE))
    yield { record, context: `credential/${record.key}` };
  for (const table of Object.values(DTLS_TABLES))
    for (const record of store.load(table)) yield { record, context: "dtls" };
}

function faultOf(
  { value }: StoreRecord,
  context: string,
  sealer: CredentialSealer,
): string | undefined {
  try {
    sealer.open(value, context);
    return undefined;
  } catch (fault) {
    if (!(fault instanceof FormatError)) throw fault;
    return fault.message;
  }
}

function checkContext(key: string): string {
  return `master-key/${key}`;
}

const CHECK_TABLE = "masterKey";
const CHECKS = ["check-1", "check-2"] as const;
const CHECK = utf8("the right key opens this");
/** Records that do not open, after which no more are tried. */
const ENOUGH = 1_000;
