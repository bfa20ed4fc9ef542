import {
  type Code,
  type Local,
  Locals,
  all,
  and,
  below,
  bytes,
  load,
  lookUp,
  minus,
  nibbleDown,
  number,
  plus,
  repeat,
  same,
  shifted,
  shuffle,
  store,
  when,
  withLast,
  xor,
} from "./assembler.ts";
import { type Parts, asPair, nibbleTables, times } from "./field.ts";

/**
 * AES-128-CCM as a WebAssembly module, of one function `run(aadBlocks, dataBlocks, opens, tail)` over its memory:
 *
 *   KEY     16 bytes; wiped afterwards, and so are the round keys made of it and the key stream
 *   A0      the counter block 0 of RFC 3610 2.3
 *   INPUT   B0, the additional data with its length and zeros behind it, the data and zeros behind it: whole blocks all.
 *           The data is replaced by its ciphertext or plaintext.
 *   TAG     all 16 bytes of it come here
 *
 * `opens`: 1 to decrypt, 0 to encrypt. `tail`: bytes of data in its last block, 1 to 16.
 *
 * Two blocks go through AES side by side: the next of the CBC-MAC and the next of the key stream, which has one block for each of
 * the MAC and so is ahead of the data by as many as there are before it. Nothing branches on, and no address depends on, a key or
 * a byte of the data (see field.ts).
 */
export function ccmProgram(): Uint8Array<ArrayBuffer> {
  const [aadBlocks, dataBlocks, opens, tail] = parameters as [Local, Local, Local, Local]; // four
  const last = plus(aadBlocks.get, dataBlocks.get);
  const address = shifted(step.get, 4);
  const streamOf = shifted(minus(step.get, aadBlocks.get), 4);
  return locals.module([
    ...low.set(all(0x0f)),
    ...inverse.set(bytes(TABLES.inverse)),
    ...scaledInverse.set(bytes(TABLES.scaledInverse)),
    ...expandKey(),
    ...counter.set(load(number(A0))),
    ...mac.set(all(0)),
    ...step.set(number(0)),
    ...repeat(
      [
        ...input.set(load(address, INPUT)),
        ...when(below(aadBlocks.get, step.get), [
          ...output.set(xor(input.get, load(streamOf, STREAM))),
          ...when(
            same(step.get, last),
            output.set(and(output.get, load(minus(number(MASK + 16), tail.get)))),
          ),
          ...store(address, output.get, INPUT),
          ...when(opens.get, input.set(output.get)),
        ]),
        ...mac.set(xor(mac.get, input.get)),
        ...stream.set(withLast(counter.get, step.get)),
        ...encrypt([mac, stream]),
        ...store(address, stream.get, STREAM),
        ...step.set(plus(step.get, number(1))),
      ],
      below(step.get, plus(last, number(1))),
    ),
    ...store(number(TAG), xor(mac.get, load(number(STREAM)))),
    ...store(number(KEY), all(0)),
    ...Array.from({ length: ROUNDS + 1 }, (_, r) =>
      store(number(ROUND_KEYS + 16 * r), all(0)),
    ).flat(),
    ...repeat(
      [...step.set(minus(step.get, number(1))), ...store(shifted(step.get, 4), all(0), STREAM)],
      below(number(0), step.get),
    ),
  ]);
}

/** FIPS 197 5.2, the round keys as pairs, and with the constant of SubBytes in them: MixColumns leaves it as it is. */
function expandKey(): Code {
  const code: number[] = [
    ...key.set(translated(load(number(KEY)), TABLES.toPairs)),
    ...store(number(ROUND_KEYS), key.get),
  ];
  let constant = 1;
  for (let r = 1; r <= ROUNDS; r++) {
    const constants = [asPair(0x63 ^ constant), ...new Array(3).fill(asPair(0x63))];
    code.push(
      ...input.set(
        shuffle(
          key.get,
          key.get,
          each((n) => 12 + ((n + 1) & 3)),
        ),
      ),
      ...invert(input, LANES[0]),
      // Each word is the sum of itself and those before it.
      ...key.set(
        xor(
          key.get,
          shuffle(
            key.get,
            all(0),
            each((n) => (n < 4 ? 16 : n - 4)),
          ),
        ),
      ),
      ...key.set(
        xor(
          key.get,
          shuffle(
            key.get,
            all(0),
            each((n) => (n < 8 ? 16 : n - 8)),
          ),
        ),
      ),
      ...key.set(
        xor(key.get, substituted(TABLES.pairs, LANES[0]), bytes(each((n) => constants[n & 3]!))),
      ), // four
    );
    const whole =
      r < ROUNDS
        ? xor(key.get, all(asPair(0x63)))
        : xor(translated(key.get, TABLES.toPlain), all(0x63));
    code.push(...store(number(ROUND_KEYS + 16 * r), whole));
    constant = times(constant, 2);
  }
  return code;
}

/** Encrypts two blocks side by side (FIPS 197 5.1). */
function encrypt(states: readonly [Local, Local]): Code {
  const both = (code: (state: Local, lane: Lane) => Code): Code => [
    ...code(states[0], LANES[0]),
    ...code(states[1], LANES[1]),
  ];
  return [
    ...key.set(load(number(ROUND_KEYS))),
    ...both((state) => state.set(xor(translated(state.get, TABLES.toPairs), key.get))),
    ...roundKey.set(number(ROUND_KEYS + 16)),
    ...repeat(
      [
        ...key.set(load(roundKey.get)),
        ...both((state, lane) => [
          ...invert(state, lane),
          ...lane.once.set(substituted(TABLES.pairs, lane)),
          ...lane.twice.set(substituted(TABLES.doubled, lane)),
          // 2 a + 3 b + c + d for the bytes a, b, c, d of a column as ShiftRows leaves it.
          ...state.set(
            xor(
              key.get,
              inColumns(lane.twice.get, 0),
              inColumns(xor(lane.once.get, lane.twice.get), 1),
              inColumns(lane.once.get, 2),
              inColumns(lane.once.get, 3),
            ),
          ),
        ]),
        ...roundKey.set(plus(roundKey.get, number(16))),
      ],
      below(roundKey.get, number(ROUND_KEYS + 16 * ROUNDS)),
    ),
    ...key.set(load(number(ROUND_KEYS + 16 * ROUNDS))),
    ...both((state, lane) => [
      ...invert(state, lane),
      ...state.set(xor(key.get, inColumns(substituted(TABLES.plain, lane), 0))),
    ]),
  ];
}

/** The inversion of SubBytes, as far as p and q of field.ts. */
function invert(state: Local, { i, j, a, p, q }: Lane): Code {
  const inverted = (of: Local): Code =>
    lookUp(inverse.get, xor(lookUp(inverse.get, of.get), a.get));
  return [
    ...i.set(highNibbles(state.get)),
    ...j.set(and(state.get, low.get)),
    ...a.set(lookUp(scaledInverse.get, xor(i.get, j.get))),
    ...p.set(xor(inverted(i), j.get)),
    ...q.set(xor(inverted(j), i.get)),
  ];
}

function substituted([byP, byQ]: Parts, { p, q }: Lane): Code {
  return xor(lookUp(bytes(byP), p.get), lookUp(bytes(byQ), q.get));
}

/** From one way to write bytes to the other. */
function translated(vector: Code, [byLow, byHigh]: Parts): Code {
  return [
    ...scratch.set(vector),
    ...xor(
      lookUp(bytes(byLow), and(scratch.get, low.get)),
      lookUp(bytes(byHigh), highNibbles(scratch.get)),
    ),
  ];
}

function highNibbles(vector: Code): Code {
  return and(nibbleDown(vector), low.get);
}

/** ShiftRows, and then each column turned up by so many bytes. */
function inColumns(vector: Code, turn: number): Code {
  const lanes = each((n) => {
    const from = (n & 12) | ((n + turn) & 3);
    return (from + 4 * (from & 3)) & 15;
  });
  return [...output.set(vector), ...shuffle(output.get, output.get, lanes)];
}

function each(of: (n: number) => number): number[] {
  return Array.from({ length: 16 }, (_, n) => of(n));
}

/** Where things are in the memory. */
export const KEY = 0;
export const A0 = 16;
export const TAG = 32;
/** 16 bytes of ones and 16 of zeros: where the last block ends. */
export const MASK = 48;
export const INPUT = 512;
const ROUND_KEYS = 128;
const STREAM = 8_192;
const ROUNDS = 10;

const TABLES = nibbleTables();
const locals = new Locals(4);
const parameters = locals.parameters();
const step = locals.number();
const roundKey = locals.number();
const key = locals.vector();
const counter = locals.vector();
const mac = locals.vector();
const stream = locals.vector();
const input = locals.vector();
const output = locals.vector();
const scratch = locals.vector();
const low = locals.vector();
const inverse = locals.vector();
const scaledInverse = locals.vector();
const lane = () => ({
  i: locals.vector(),
  j: locals.vector(),
  a: locals.vector(),
  p: locals.vector(),
  q: locals.vector(),
  once: locals.vector(),
  twice: locals.vector(),
});
type Lane = ReturnType<typeof lane>;
const LANES = [lane(), lane()] as const;
