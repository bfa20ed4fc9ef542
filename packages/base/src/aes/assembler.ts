/**
 * As much of WebAssembly's binary format as a small program over 128-bit vectors needs. A piece of code is the bytes of its
 * instructions; each function here makes one that follows those of its operands. WebAssembly Core 2.0, 5.4 and 5.5.
 */
export type Code = readonly number[];

/** A number or a vector, local to the one function of a program. */
export class Local {
  readonly #index: number;

  constructor(index: number) {
    this.#index = index;
  }

  get get(): Code {
    return [0x20, ...unsigned(this.#index)];
  }

  set(value: Code): Code {
    return [...value, 0x21, ...unsigned(this.#index)];
  }
}

/** Gives out the locals of a function, its parameters first. */
export class Locals {
  readonly #parameters: number;
  readonly #types: number[] = [];

  constructor(parameters: number) {
    this.#parameters = parameters;
  }

  parameters(): Local[] {
    return Array.from({ length: this.#parameters }, (_, index) => new Local(index));
  }

  number(): Local {
    return this.#new(I32);
  }

  vector(): Local {
    return this.#new(V128);
  }

  /** A module of one page of memory and this function, which takes its parameters as numbers and returns nothing. */
  module(body: Code): Uint8Array<ArrayBuffer> {
    const locals = vector(this.#types.map((type) => [1, type]));
    const code = [...locals, ...body, 0x0b];
    return Uint8Array.from([
      ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, [[0x60, ...vector(new Array(this.#parameters).fill([I32])), 0]]),
      ...section(3, [[0]]),
      ...section(5, [[0, 1]]),
      ...section(7, [
        [...name("memory"), 2, 0],
        [...name("run"), 0, 0],
      ]),
      ...section(10, [[...unsigned(code.length), ...code]]),
    ]);
  }

  #new(type: number): Local {
    return new Local(this.#parameters + this.#types.push(type) - 1);
  }
}

export function number(value: number): Code {
  return [0x41, ...signed(value)];
}

export function plus(a: Code, b: Code): Code {
  return [...a, ...b, 0x6a];
}

export function minus(a: Code, b: Code): Code {
  return [...a, ...b, 0x6b];
}

/** a << bits */
export function shifted(a: Code, bits: number): Code {
  return [...a, ...number(bits), 0x74];
}

/** a < b, both unsigned. */
export function below(a: Code, b: Code): Code {
  return [...a, ...b, 0x49];
}

export function same(a: Code, b: Code): Code {
  return [...a, ...b, 0x46];
}

export function when(condition: Code, then: Code): Code {
  return [...condition, 0x04, 0x40, ...then, 0x0b];
}

/** Runs `body`, and again as long as the condition holds after it. */
export function repeat(body: Code, condition: Code): Code {
  return [0x03, 0x40, ...body, ...condition, 0x0d, 0, 0x0b];
}

/** 16 bytes at an address. */
export function load(address: Code, offset = 0): Code {
  return [...simd(0x00, address), 0, ...unsigned(offset)];
}

export function store(address: Code, value: Code, offset = 0): Code {
  return [...simd(0x0b, address, value), 0, ...unsigned(offset)];
}

/** A vector of these 16 bytes. */
export function bytes(values: readonly number[]): Code {
  return [...simd(0x0c), ...values];
}

/** A vector of 16 times this byte. */
export function all(byte: number): Code {
  return bytes(new Array(16).fill(byte));
}

export function xor(first: Code, ...others: readonly Code[]): Code {
  return others.reduce((sum, other) => simd(0x51, sum, other), first);
}

export function and(a: Code, b: Code): Code {
  return simd(0x4e, a, b);
}

/** Each pair of bytes shifted right by four bits: the high nibble of each byte comes to lie where the low one was. */
export function nibbleDown(vector: Code): Code {
  return simd(0x8d, vector, number(4));
}

/** Byte n of the result is byte `index[n]` of the table; 0 where that is 16 or more. */
export function lookUp(table: Code, index: Code): Code {
  return simd(0x0e, table, index);
}

/** Byte n of the result is byte `lanes[n]` of a and b together. */
export function shuffle(a: Code, b: Code, lanes: readonly number[]): Code {
  return [...simd(0x0d, a, b), ...lanes];
}

/** The vector with another last byte. */
export function withLast(vector: Code, byte: Code): Code {
  return [...simd(0x17, vector, byte), 15];
}

function simd(operation: number, ...operands: readonly Code[]): Code {
  return [...operands.flat(), 0xfd, ...unsigned(operation)];
}

function section(id: number, items: readonly Code[]): Code {
  const content = vector(items);
  return [id, ...unsigned(content.length), ...content];
}

function vector(items: readonly Code[]): Code {
  return [...unsigned(items.length), ...items.flat()];
}

function name(text: string): Code {
  return [text.length, ...Array.from(text, (letter) => letter.charCodeAt(0))];
}

/** LEB128. */
function unsigned(value: number): Code {
  const low = value & 0x7f;
  const rest = value >>> 7;
  return rest === 0 ? [low] : [low | 0x80, ...unsigned(rest)];
}

function signed(value: number): Code {
  const low = value & 0x7f;
  const rest = value >> 7;
  const isLast = (rest === 0 && low < 0x40) || (rest === -1 && low >= 0x40);
  return isLast ? [low] : [low | 0x80, ...signed(rest)];
}

const I32 = 0x7f;
const V128 = 0x7b;
