/** Chance as an argument. In production it is the system's generator, in tests a seeded one. */
export interface Rng {
  /** `n` fresh random bytes. */
  bytes(n: number): Uint8Array;
  /** In [0, 1). */
  float(): number;
}

/** A whole number in [0, limit). */
export function below(rng: Rng, limit: number): number {
  return Math.floor(rng.float() * limit);
}

/**
 * A generator for tests and simulations: the same seed gives the same world. Never for keys.
 * sfc32, seeded through splitmix32.
 */
export function seededRng(seed: number): Rng {
  let [a, b, c, counter] = [mix(seed), mix(seed + 1), mix(seed + 2), 1];
  const next = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    c |= 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 12; i++) next();
  return {
    float: () => next() / 0x1_0000_0000,
    bytes: (n) => Uint8Array.from({ length: n }, () => next() >>> 24),
  };
}

function mix(seed: number): number {
  let z = (seed + 0x9e37_79b9) | 0;
  z = Math.imul(z ^ (z >>> 16), 0x21f0_aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a_2d97);
  return z ^ (z >>> 15);
}
