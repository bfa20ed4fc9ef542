export { addressPrefix, subscriberPrefix } from "./address-prefix.ts";
export { aesCcm, type AesCcm } from "./aes/ccm.ts";
export { Arena } from "./arena.ts";
export { base64, fromBase64, toBase64 } from "./base64.ts";
export { EMPTY, concat, equal, equalSecret } from "./bytes.ts";
export { checkedRow, isChecked, openRow } from "./checked-row.ts";
export { Deadlines } from "./deadlines.ts";
export {
  FormatError,
  SelfTestError,
  USAGE_ERROR_CODES,
  UsageError,
  type UsageErrorCode,
} from "./faults.ts";
export { fits, misfit } from "./fits.ts";
export { hashBytes, hashText } from "./hash.ts";
export { hex, toHex } from "./hex.ts";
export {
  Ledger,
  type Direction,
  type LedgerSide,
  type LedgerSnapshot,
  type Purpose,
} from "./ledger.ts";
export { earlier, unreachable, type Instant, type Machine } from "./machine.ts";
export {
  bytes,
  check,
  checkName,
  checkOptions,
  either,
  finite,
  flag,
  list,
  ofKind,
  oneOf,
  record,
  required,
  text,
  tuningLike,
  whole,
  withMethods,
  type Rule,
  type Rules,
} from "./options.ts";
export { Outbox } from "./outbox.ts";
export { Reader } from "./reader.ts";
export { ReplayWindow } from "./replay-window.ts";
export { COUNTER_TABLE, ReservedCounter, type ReservedCounterOptions } from "./reserved-counter.ts";
export { below, seededRng, type Rng } from "./rng.ts";
export {
  formatAddress,
  type DatagramEvent,
  type Identity,
  type Path,
  type SessionId,
  type SocketAddress,
} from "./session.ts";
export { SelfKeyed, byNumber, type Keying } from "./self-keyed.ts";
export { SERIALS_PER_SLOT, slotOf, type SlotId, type SlottedId } from "./slot.ts";
export { type StoreChange, type StoreOutput, type StoredInput } from "./store.ts";
export { selfTest } from "./self-test.ts";
export { HmacSha256, sha256 } from "./sha256.ts";
export { fromUtf8, isUtf8, utf8 } from "./text.ts";
export { Tickets } from "./tickets.ts";
export { TimerTable } from "./timer-table.ts";
export { Writer } from "./writer.ts";
