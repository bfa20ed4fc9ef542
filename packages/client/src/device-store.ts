import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FormatError, utf8 } from "@godwit/base";
import { loadMasterKey, writeFileAtomic, type MasterKey, type Store } from "@godwit/io";
import type { ClientDtlsOptions, ClientSnapshot } from "@godwit/lwm2m";
import { readChecked, writeChecked } from "./checked-json.ts";
import { RecordFile } from "./record-file.ts";
import { repairFiles } from "./repair-files.ts";

/** Where a device keeps what outlives its restart: its registration, its settings, what it learned of the NAT. */
export interface DeviceStore {
  load(): ClientSnapshot | undefined;
  save(snapshot: ClientSnapshot): Promise<void>;
  /** Records that must be durable before anything relies on them: sequence numbers of OSCORE and DTLS. Opened at each start. */
  records(): Store;
  /**
   * Called at each start before anything is read: sets aside what was damaged and can be made anew, and says so, a sentence
   * each. `mayRenewRecords`: sequence numbers may be lost, because all keys they were used with are made anew, too.
   *
   * @throws Error that says what to do, where the device cannot go on
   */
  repair?(mayRenewRecords: boolean): readonly string[];
  /** Seals sessions of DTLS. Without it each start begins with a handshake. */
  readonly sealer?: Sealer;
}

/**
 * In a directory of its own, mode 0600, replaced as a whole: a device that loses power keeps the old or the new state.
 * Sessions are sealed under a key in the same directory, or in the file that `GODWIT_MASTER_KEY_FILE` names.
 */
export function fileStore(directory: string): DeviceStore {
  const file = join(directory, "device.json");
  return {
    load() {
      let text: string;
      try {
        text = readFileSync(file, "utf8");
      } catch (fault) {
        if ((fault as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw fault;
      }
      return readSnapshot(text); // undefined where it is damaged: a device then registers anew
    },
    repair: (mayRenewRecords) => repairFiles(directory, mayRenewRecords, readSnapshot),
    sealer: fileSealer(join(directory, "session-key")),
    records: () => new RecordFile(join(directory, "records.json")),
    async save(snapshot) {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      const text = writeChecked(LAYOUT, JSON.stringify(snapshot, replace));
      await writeFileAtomic(file, utf8(text));
    },
  };
}

function fileSealer(file: string): Sealer {
  let key: MasterKey | undefined;
  const master = (): MasterKey => (key ??= loadMasterKey(file).key);
  return {
    seal: (plain) => master().seal(plain, SESSION),
    open(sealed) {
      try {
        return master().open(sealed, SESSION);
      } catch (fault) {
        if (!(fault instanceof FormatError)) throw fault;
        return undefined;
      }
    },
  };
}

type Sealer = NonNullable<ClientDtlsOptions["sealer"]>;

/** Files of earlier versions had no sum. */
function readSnapshot(text: string): ClientSnapshot | undefined {
  try {
    const checked = readChecked(LAYOUT, text);
    if (checked !== undefined) return JSON.parse(checked, revive) as ClientSnapshot;
    const { layout, snapshot } = JSON.parse(text, revive) as Partial<Saved>;
    return layout === EARLIER && typeof snapshot === "object" ? snapshot : undefined;
  } catch {
    return undefined;
  }
}

type Saved = { readonly layout: number; readonly snapshot: ClientSnapshot };

/** JSON has neither 64-bit numbers nor Infinity nor bytes. */
function replace(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return { $big: String(value) };
  return value instanceof Uint8Array ? { $bytes: [...value] } : value;
}

function revive(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if ("$big" in value) return BigInt(String(value.$big));
  if ("$bytes" in value) return Uint8Array.from(value.$bytes as number[]);
  return value;
}

const EARLIER = 1;
const LAYOUT = 2;
const SESSION = "device session";
