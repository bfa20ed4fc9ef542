import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FormatError, utf8 } from "@godwit/base";
import { StoreError, loadMasterKey, writeFileAtomic, type MasterKey, type Store } from "@godwit/io";
import type { ClientDtlsOptions, ClientSnapshot } from "@godwit/lwm2m";
import { RecordFile } from "./record-file.ts";

/** Where a device keeps what outlives its restart: its registration, its settings, what it learned of the NAT. */
export interface DeviceStore {
  load(): ClientSnapshot | undefined;
  save(snapshot: ClientSnapshot): Promise<void>;
  /** Records that must be durable before anything relies on them: sequence numbers of OSCORE and DTLS. Opened at each start. */
  records(): Store;
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
        throw new StoreError("io", `cannot read ${file}: ${(fault as Error).message}`, fault);
      }
      try {
        const { layout, snapshot } = JSON.parse(text, revive) as Saved;
        return layout === LAYOUT ? snapshot : undefined;
      } catch {
        return undefined; // torn by something other than us: a device then registers anew
      }
    },
    sealer: fileSealer(join(directory, "session-key")),
    records: () => new RecordFile(join(directory, "records.json")),
    async save(snapshot) {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      const saved: Saved = { layout: LAYOUT, snapshot };
      await writeFileAtomic(file, utf8(JSON.stringify(saved, replace)));
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

type Saved = { readonly layout: number; readonly snapshot: ClientSnapshot };

/** JSON has neither 64-bit numbers nor NaN, Infinity and bytes. */
function replace(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return { $big: String(value) };
  if (typeof value === "number" && !Number.isFinite(value)) return { $float: String(value) };
  return value instanceof Uint8Array ? { $bytes: [...value] } : value;
}

function revive(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if ("$big" in value) return BigInt(String(value.$big));
  if ("$float" in value) return Number(value.$float);
  if ("$bytes" in value) return Uint8Array.from(value.$bytes as number[]);
  return value;
}

const LAYOUT = 1;
const SESSION = "device session";
