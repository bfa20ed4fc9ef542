export { writeFileAtomic, writeFileAtomicSync } from "./atomic-file.ts";
export {
  backUpData,
  restoreData,
  type Backup,
  type Restored,
  type RestoreOptions,
} from "./backup.ts";
export { systemClock, type Clock } from "./clock.ts";
export { openData, type Data, type DataOptions } from "./data.ts";
export {
  Driver,
  type DatagramPort,
  type DriverCounters,
  type DriverFault,
  type DriverOptions,
  type Other,
  type Timers,
} from "./driver.ts";
export { CONTENT_SUM_LENGTH, contentSum } from "./content-sum.ts";
export { systemRng } from "./entropy.ts";
export { guardedStore } from "./guarded-store.ts";
export { joinPorts } from "./join-ports.ts";
export { kernelDrops } from "./kernel-drops.ts";
export { Listeners } from "./listeners.ts";
export { makeDirectory } from "./make-directory.ts";
export { measureLoad, type Load } from "./load.ts";
export { removeLeftOvers } from "./left-overs.ts";
export {
  loadMasterKey,
  MasterKey,
  readMasterKey,
  sealedWith,
  type LoadedMasterKey,
} from "./master-key.ts";
export { MemoryStore, memoryStore, type MemoryStoreOptions } from "./memory-store.ts";
export { openSqlite, storeError, type Sqlite } from "./sqlite.ts";
export { SqliteStore, sqliteStore, type SqliteStoreOptions } from "./sqlite-store.ts";
export type { StoreHealth } from "./store-health.ts";
export {
  STORE_ERROR_CODES,
  StoreError,
  refusalWords,
  type Store,
  type StoreDone,
  type StoreFault,
  type StoreRecord,
} from "./store.ts";
export { TimeoutError, Waiting, isThenable, onAbort, within } from "./waiting.ts";
export { IO_TUNING, type IoTuning } from "./tuning.ts";
export {
  SOCKET_ERROR_CODES,
  SocketError,
  describeUdpNote,
  openUdp,
  UdpPort,
  type UdpCounters,
  type UdpNote,
  type UdpOptions,
} from "./udp-socket.ts";
