/**
 * SHA-256 (FIPS 180-4 6.2) of the parts together. For the short texts of handshakes, where the system's own takes most of its time
 * to make an object and to have it swept up; see docs/decisions/aes-in-webassembly.md.
 */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  STATE.set(INITIAL);
  const out = digest(parts, 0);
  wipe();
  return out;
}

/** HMAC with SHA-256 (RFC 2104) under one key, of which what can be done ahead has been done. */
export class HmacSha256 {
  readonly #inner = new Int32Array(8);
  readonly #outer = new Int32Array(8);

  constructor(key: Uint8Array) {
    const short = key.length > BLOCK ? sha256(key) : key;
    this.#pad(this.#inner, short, 0x36);
    this.#pad(this.#outer, short, 0x5c);
    if (short !== key) short.fill(0);
    wipe();
  }

  /** The MAC over the parts together. */
  of(...parts: readonly Uint8Array[]): Uint8Array {
    STATE.set(this.#inner);
    const inner = digest(parts, BLOCK);
    STATE.set(this.#outer);
    const out = digest([inner], BLOCK);
    inner.fill(0);
    wipe();
    return out;
  }

  /** Forgets the key. It is not used after this. */
  wipe(): void {
    this.#inner.fill(0);
    this.#outer.fill(0);
  }

  #pad(state: Int32Array, key: Uint8Array, filler: number): void {
    for (let i = 0; i < BLOCK; i++) LAST[i] = (i < key.length ? key[i]! : 0) ^ filler; // i < length
    STATE.set(INITIAL);
    compress(LAST, 0);
    state.set(STATE);
  }
}

/** What was hashed may be a key, or lead to one: nothing of it outlives a call. */
function wipe(): void {
  STATE.fill(0);
  SCHEDULE.fill(0);
  LAST.fill(0);
}

/** Whether nothing is left of what was hashed; for tests. */
export function isWiped(): boolean {
  return [STATE, SCHEDULE, LAST].every((room) => room.every((value) => value === 0));
}

/** Goes on in STATE, where whole blocks of `before` bytes have been. */
function digest(parts: readonly Uint8Array[], before: number): Uint8Array {
  let length = before;
  let held = 0; // bytes of a block that is not whole yet
  for (let n = 0; n < parts.length; n++) {
    const part = parts[n]!; // n < length
    length += part.length;
    let at = 0;
    if (held === 0) {
      for (; part.length - at >= BLOCK; at += BLOCK) compress(part, at);
    }
    while (at < part.length) {
      LAST[held++] = part[at++]!; // at < length
      if (held < BLOCK) continue;
      compress(LAST, 0);
      held = 0;
      for (; part.length - at >= BLOCK; at += BLOCK) compress(part, at);
    }
  }
  LAST[held++] = 0x80;
  if (held > BLOCK - 8) {
    while (held < BLOCK) LAST[held++] = 0;
    compress(LAST, 0);
    held = 0;
  }
  while (held < BLOCK - 4) LAST[held++] = 0;
  LAST[BLOCK - 5] = length >>> 29; // the length in bits, of at most 2^32 bytes
  LAST[BLOCK - 4] = length >>> 21;
  LAST[BLOCK - 3] = length >>> 13;
  LAST[BLOCK - 2] = length >>> 5;
  LAST[BLOCK - 1] = length << 3;
  compress(LAST, 0);
  const out = new Uint8Array(32);
  for (let i = 0; i < 8; i++) {
    const word = STATE[i]!; // eight
    out[4 * i] = word >>> 24;
    out[4 * i + 1] = word >>> 16;
    out[4 * i + 2] = word >>> 8;
    out[4 * i + 3] = word;
  }
  return out;
}

/** One block of `bytes` into STATE (FIPS 180-4 6.2.2). Every index here is below the length of its array. */
function compress(bytes: Uint8Array, at: number): void {
  const w = SCHEDULE;
  for (let t = 0; t < 16; t++, at += 4) {
    w[t] = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
  }
  for (let t = 16; t < 64; t++) {
    const x = w[t - 15]!;
    const y = w[t - 2]!;
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[t] = (w[t - 16]! + s0 + w[t - 7]! + s1) | 0;
  }
  let a = STATE[0]!;
  let b = STATE[1]!;
  let c = STATE[2]!;
  let d = STATE[3]!;
  let e = STATE[4]!;
  let f = STATE[5]!;
  let g = STATE[6]!;
  let h = STATE[7]!;
  for (let t = 0; t < 64; t++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const one = (h + s1 + ((e & f) ^ (~e & g)) + CONSTANTS[t]! + w[t]!) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const two = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + one) | 0;
    d = c;
    c = b;
    b = a;
    a = (one + two) | 0;
  }
  STATE[0]! += a;
  STATE[1]! += b;
  STATE[2]! += c;
  STATE[3]! += d;
  STATE[4]! += e;
  STATE[5]! += f;
  STATE[6]! += g;
  STATE[7]! += h;
}

/** The first 32 bits behind the point of roots of the first primes: square ones and cube ones (FIPS 180-4 4.2.2, 5.3.3). */
function fractions(count: number, root: (prime: number) => number): Int32Array {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++)
    if (found.every((prime) => n % prime > 0)) found.push(n);
  return Int32Array.from(found, (prime) => (root(prime) % 1) * 2 ** 32);
}

const BLOCK = 64;
const INITIAL = fractions(8, Math.sqrt);
const CONSTANTS = fractions(64, Math.cbrt);
// Room for the one hash that is being made.
const STATE = new Int32Array(8);
const SCHEDULE = new Int32Array(64);
const LAST = new Uint8Array(BLOCK);
