import type { Ledger, Path } from "@godwit/base";
import { beginsHello } from "./handshake/first-hello.ts";
import { sizeOfNameless } from "./record/header.ts";

/**
 * The records at the beginning of a datagram that have no name and are nobody's: in the clear and no ClientHello, or of epoch 1
 * from an address without an association. They are passed over together and without making anything, for anybody can send them.
 */
export class StrayRecords {
  readonly #ledger: Ledger;
  readonly #knows: (path: Path) => boolean;

  /** `ledger`: where they are counted. `knows`: whether there is an association at a path. */
  constructor(ledger: Ledger, knows: (path: Path) => boolean) {
    this.#ledger = ledger;
    this.#knows = knows;
  }

  /** Where the first record is that may mean something; the end of the datagram where too many mean nothing. */
  passOver(bytes: Uint8Array, path: Path): number {
    let isKnown: boolean | undefined;
    let plain = 0;
    let sealed = 0;
    let at = 0;
    for (let size = sizeOfNameless(bytes, 0); size > 0; size = sizeOfNameless(bytes, at)) {
      if (bytes[at + 3] === 0 && bytes[at + 4] === 0) {
        if (beginsHello(bytes, at, size)) break;
        plain += 1;
      } else {
        isKnown ??= this.#knows(path);
        if (isKnown) break;
        sealed += 1;
      }
      at += size;
      if (plain + sealed < MOST) continue;
      at = bytes.length;
      break;
    }
    if (plain > 0) this.#ledger.drop("strayPlain", plain);
    if (sealed > 0) this.#ledger.drop("noAssociation", sealed);
    return at;
  }
}

/** A client's last flight has four records in the clear before the one that means something. */
const MOST = 8;
