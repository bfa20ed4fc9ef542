import { randomBytes, randomFillSync } from "node:crypto";
import type { Rng } from "@godwit/base";

/** The system's generator of chance, drawn in blocks: a call costs a copy, not a system call. */
export function systemRng(): Rng {
  const pool = new Uint8Array(POOL);
  const view = new DataView(pool.buffer);
  let used = POOL;
  const take = (n: number): number => {
    if (used + n > POOL) {
      randomFillSync(pool);
      used = 0;
    }
    used += n;
    return used - n;
  };
  return {
    bytes(n) {
      if (n > LARGE) return new Uint8Array(randomBytes(n));
      const at = take(n);
      const fresh = pool.slice(at, at + n);
      pool.fill(0, at, at + n); // what was given out may be a key: it is kept nowhere else
      return fresh;
    },
    float() {
      const at = take(8);
      // 53 bits, all a double has between 0 and 1.
      return (view.getUint32(at) * 0x20_0000 + (view.getUint32(at + 4) >>> 11)) / 2 ** 53;
    },
  };
}

const POOL = 4_096;
const LARGE = 512;
