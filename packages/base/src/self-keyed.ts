/** How a table finds its values by what they have in themselves. */
export type Keying<K, V> = {
  /** The key that a value has; it may not change while the value is in the table. */
  keyOf(value: V): K;
  /** Any 32 bits that equal keys have in common. */
  hash(key: K): number;
  same(a: K, b: K): boolean;
};

/**
 * A map for values that know their own keys: 12 to 32 bytes for each, where a Map takes 50 and the key besides. Open
 * addressing with linear probing; hashes lie beside it, so that a search touches no value but the one it finds. The hash has no
 * secret: it is for keys that nobody can choose at will.
 */
export class SelfKeyed<K, V extends object> {
  readonly #keying: Keying<K, V>;
  #slots: (V | undefined)[] = empty(SMALLEST);
  /** Of the values; anything where there is none. */
  #hashes: Int32Array = new Int32Array(SMALLEST);
  /** Bits of a hash that are too many. */
  #shift = 32 - Math.log2(SMALLEST);
  #size = 0;

  constructor(keying: Keying<K, V>) {
    this.#keying = keying;
  }

  get size(): number {
    return this.#size;
  }

  get(key: K): V | undefined {
    return this.#slots[this.#find(key, this.#keying.hash(key) | 0)];
  }

  /** Puts a value under its key, in place of another that has the same. */
  set(value: V): void {
    const key = this.#keying.keyOf(value);
    const hash = this.#keying.hash(key) | 0;
    const at = this.#find(key, hash);
    const isNew = this.#slots[at] === undefined;
    this.#slots[at] = value;
    this.#hashes[at] = hash;
    if (isNew && ++this.#size * 4 > this.#slots.length * 3) this.#grow();
  }

  /** Takes this very value out; one that is not here, or was replaced, is none. */
  delete(value: V): void {
    const slots = this.#slots;
    const hashes = this.#hashes;
    const key = this.#keying.keyOf(value);
    let hole = this.#find(key, this.#keying.hash(key) | 0);
    if (slots[hole] !== value) return;
    this.#size -= 1;
    const mask = slots.length - 1;
    // What was pushed beyond the hole by it moves back, so that no search ends too early.
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const next = slots[at];
      if (next === undefined) break;
      const hash = hashes[at]!; // as long as the slots
      const home = this.#home(hash);
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      slots[hole] = next;
      hashes[hole] = hash;
      hole = at;
    }
    slots[hole] = undefined;
  }

  /** All of them now, in no order. */
  values(): V[] {
    return this.#slots.filter((value) => value !== undefined);
  }

  /** Where the key's value is, or would be put. */
  #find(key: K, hash: number): number {
    const slots = this.#slots;
    const hashes = this.#hashes;
    const mask = slots.length - 1;
    for (let at = this.#home(hash); ; at = (at + 1) & mask) {
      const value = slots[at];
      if (value === undefined) return at;
      if (hashes[at] === hash && this.#keying.same(this.#keying.keyOf(value), key)) return at;
    }
  }

  #home(hash: number): number {
    return Math.imul(hash, GOLDEN) >>> this.#shift;
  }

  #grow(): void {
    const slots = this.#slots;
    const hashes = this.#hashes;
    const length = slots.length * 2;
    this.#slots = empty(length);
    this.#hashes = new Int32Array(length);
    this.#shift -= 1;
    for (let from = 0; from < slots.length; from++) {
      const value = slots[from];
      if (value === undefined) continue;
      const hash = hashes[from]!; // as long as the slots
      let at = this.#home(hash);
      while (this.#slots[at] !== undefined) at = (at + 1) & (length - 1);
      this.#slots[at] = value;
      this.#hashes[at] = hash;
    }
  }
}

/** For keys that are numbers which count up: their low bits differ. */
export function byNumber<V>(keyOf: (value: V) => number): Keying<number, V> {
  return { keyOf, hash: (key) => key | 0, same: (a, b) => a === b };
}

function empty<V>(length: number): (V | undefined)[] {
  return new Array<V | undefined>(length).fill(undefined);
}

/** A power of two, as all lengths are. */
const SMALLEST = 16;
/** 2^32 over the golden ratio: neighbours come to lie far apart (Knuth, Volume 3, 6.4). */
const GOLDEN = 0x9e37_79b1;
