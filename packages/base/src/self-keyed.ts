/** How a table finds its values by what they have in themselves. */
export type Keying<K, V> = {
  /** The key that a value has; it may not change while the value is in the table. */
  keyOf(value: V): K;
  /** Any 32 bits that equal keys have in common. */
  hash(key: K): number;
  same(a: K, b: K): boolean;
};

/**
 * A map for values that know their own keys: 8 to 21 bytes for each, where a Map takes 50 and the key besides. Open
 * addressing with linear probing. The hash has no secret: it is for keys that nobody can choose at will.
 */
export class SelfKeyed<K, V extends object> {
  readonly #keying: Keying<K, V>;
  #slots: (V | undefined)[] = empty(SMALLEST);
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
    return this.#slots[this.#find(key)];
  }

  /** Puts a value under its key, in place of another that has the same. */
  set(value: V): void {
    const at = this.#find(this.#keying.keyOf(value));
    const isNew = this.#slots[at] === undefined;
    this.#slots[at] = value;
    if (isNew && ++this.#size * 4 > this.#slots.length * 3) this.#grow();
  }

  /** Takes this very value out; one that is not here, or was replaced, is none. */
  delete(value: V): void {
    const slots = this.#slots;
    let hole = this.#find(this.#keying.keyOf(value));
    if (slots[hole] !== value) return;
    this.#size -= 1;
    const mask = slots.length - 1;
    // What was pushed beyond the hole by it moves back, so that no search ends too early.
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const next = slots[at];
      if (next === undefined) break;
      const home = this.#home(this.#keying.keyOf(next));
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      slots[hole] = next;
      hole = at;
    }
    slots[hole] = undefined;
  }

  /** All of them now, in no order. */
  values(): V[] {
    return this.#slots.filter((value) => value !== undefined);
  }

  /** Where the key's value is, or would be put. */
  #find(key: K): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let at = this.#home(key); ; at = (at + 1) & mask) {
      const value = slots[at];
      if (value === undefined || this.#keying.same(this.#keying.keyOf(value), key)) return at;
    }
  }

  #home(key: K): number {
    return Math.imul(this.#keying.hash(key), GOLDEN) >>> this.#shift;
  }

  #grow(): void {
    const values = this.values();
    this.#slots = empty(this.#slots.length * 2);
    this.#shift -= 1;
    for (const value of values) this.#slots[this.#find(this.#keying.keyOf(value))] = value;
  }
}

/** A hash for strings, for `Keying`. */
export function hashText(text: string, seed = 0): number {
  let hash = seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash, 31) + text.charCodeAt(i);
  return hash | 0;
}

function empty<V>(length: number): (V | undefined)[] {
  return new Array<V | undefined>(length).fill(undefined);
}

/** A power of two, as all lengths are. */
const SMALLEST = 16;
/** 2^32 over the golden ratio: neighbours come to lie far apart (Knuth, Volume 3, 6.4). */
const GOLDEN = 0x9e37_79b1;
