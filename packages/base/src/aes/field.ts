// AES's field of 256 elements (FIPS 197 4), and the same field seen as pairs (i, j) over its subfield of 16 elements:
//
//   x = i u + j v       v = u^16 the conjugate of u, with u + v = 1 and n = u v       one byte: i in the high nibble, j in the low
//
// With k = i + j, and 1/0 taken as an infinity that swallows what is added to it and whose inverse is 0, the inverse of x
// takes nothing but inverses of nibbles and sums:
//
//   a = 1/(n k)     p = 1/(1/i + a) + j     q = 1/(1/j + a) + i
//   1/p = (n k + i)/N     1/q = (n k + j)/N     N = n k^2 + i j, the norm of x
//   1/x = (i v + j u)/N = (1/p)(v (1 + n) + u n) + (1/q)(v n + u (1 + n))
//
// So SubBytes is five look-ups of nibbles to p and q, and one more for each of them, into tables that hold the inversion and all
// that is linear after it. Every look-up reads a whole table of 16 bytes at once (`i8x16.swizzle`): its time depends on no byte.
// M. Hamburg, Accelerating AES with Vector Permute Instructions, CHES 2009, has the method; the basis here is another.

/** Tables of 16 bytes, indexed by a nibble; an index of 0x80 and above stands for infinity and reads 0. */
export type NibbleTables = {
  /** 1/v, and a/v with a = 1/n. */
  readonly inverse: Nibbles;
  readonly scaledInverse: Nibbles;
  /** The two parts of SubBytes without its constant, by p and by q: as pairs, doubled as pairs, and as AES writes bytes. */
  readonly pairs: Parts;
  readonly doubled: Parts;
  readonly plain: Parts;
  /** From AES's bytes to pairs and back, by low and high nibble. */
  readonly toPairs: Parts;
  readonly toPlain: Parts;
};

export type Nibbles = readonly number[];
export type Parts = readonly [Nibbles, Nibbles];

/** All of them, from the field's definition. */
export function nibbleTables(): NibbleTables {
  const atP = times(V, 1 ^ N) ^ times(U, N);
  const atQ = times(V, N) ^ times(U, 1 ^ N);
  const parts = (written: (byte: number) => number): Parts => [
    table((p) => written(affine(times(inverse(element(p)), atP)))),
    table((q) => written(affine(times(inverse(element(q)), atQ)))),
  ];
  return {
    inverse: table((v) => (v === 0 ? INFINITE : nibble(inverse(element(v))))),
    scaledInverse: table((v) =>
      v === 0 ? INFINITE : nibble(times(inverse(N), inverse(element(v)))),
    ),
    pairs: parts(asPair),
    doubled: parts((byte) => asPair(times(byte, 2))),
    plain: parts((byte) => byte),
    toPairs: [table((low) => asPair(low)), table((high) => asPair(high << 4))],
    toPlain: [table((low) => asPlain(low)), table((high) => asPlain(high << 4))],
  };
}

/** The pair of a byte. */
export function asPair(byte: number): number {
  return PAIRS[byte]!; // every byte has one
}

/** Product of two bytes (FIPS 197 4.2). */
export function times(a: number, b: number): number {
  let product = 0;
  for (let bit = 0; bit < 8; bit++) {
    if ((b >> bit) & 1) product ^= a;
    a = ((a << 1) ^ (a & 0x80 ? 0x11b : 0)) & 0xff;
  }
  return product;
}

function asPlain(pair: number): number {
  return times(element(pair >> 4), U) ^ times(element(pair & 0xf), V);
}

/** The element of the subfield that a nibble stands for: its bits are coordinates over 1, w, w^2, w^3. */
function element(v: number): number {
  let sum = 0;
  for (let bit = 0; bit < 4; bit++) if ((v >> bit) & 1) sum ^= power(W, bit);
  return sum;
}

function nibble(value: number): number {
  return BYTES.find((v) => v < 16 && element(v) === value)!; // asked for elements of the subfield only
}

function power(a: number, exponent: number): number {
  let product = 1;
  for (let i = 0; i < exponent; i++) product = times(product, a);
  return product;
}

/** 0 for 0, as AES has it. */
function inverse(a: number): number {
  return power(a, 254);
}

/** SubBytes after the inversion, without its constant (FIPS 197 5.1.1). */
function affine(byte: number): number {
  const turned = (by: number): number => ((byte << by) | (byte >> (8 - by))) & 0xff;
  return byte ^ turned(1) ^ turned(2) ^ turned(3) ^ turned(4);
}

function table(of: (nibble: number) => number): Nibbles {
  return Array.from({ length: 16 }, (_, v) => of(v));
}

const BYTES = Array.from({ length: 256 }, (_, byte) => byte);
const INFINITE = 0x80;
/** A generator of the subfield, with w^4 + w + 1 = 0. */
const W = BYTES.find((w) => w > 1 && power(w, 16) === w && (power(w, 4) ^ w ^ 1) === 0)!; // four elements are
/** u + u^16 = 1. */
const U = BYTES.find((u) => (u ^ power(u, 16)) === 1)!; // sixteen elements are
const V = U ^ 1;
const N = times(U, V);
const PAIRS = new Array<number>(256);
for (const pair of BYTES) PAIRS[asPlain(pair)] = pair;
