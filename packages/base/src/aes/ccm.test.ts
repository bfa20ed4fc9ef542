import assert from "node:assert/strict";
import { type CipherCCMTypes, createCipheriv } from "node:crypto";
import { test } from "node:test";
import { UsageError } from "../faults.ts";
import { hex, toHex } from "../hex.ts";
import { seededRng } from "../rng.ts";
import { A0, INPUT, KEY, ccmProgram } from "./ccm-program.ts";
import { aesCcm, newAesCcm } from "./ccm.ts";
import { times } from "./field.ts";

const ccm = aesCcm();
assert.ok(ccm !== undefined, "every runtime that is supported has WebAssembly with vectors");

/** The system's own. */
function reference(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
  tag: number,
): Uint8Array {
  const type: CipherCCMTypes = "aes-128-ccm";
  const cipher = createCipheriv(type, key, nonce, { authTagLength: tag });
  cipher.setAAD(aad, { plaintextLength: plaintext.length });
  const body = cipher.update(plaintext);
  cipher.final();
  return Uint8Array.from([...body, ...cipher.getAuthTag()]);
}

function sealed(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
  tag: number,
): Uint8Array {
  const out = new Uint8Array(plaintext.length + tag + 2);
  ccm?.seal(key, nonce, aad, plaintext, tag, out, 1);
  assert.equal(out[0], 0);
  assert.equal(out.at(-1), 0);
  return out.subarray(1, -1);
}

function opened(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  message: Uint8Array,
  tag: number,
): string {
  const room = new Uint8Array(message.length).fill(0xee);
  const moved = Uint8Array.from([1, 2, 3, ...message]);
  const length = ccm!.open(key, nonce, aad, moved, 3, tag, room); // asserted above
  if (length < 0)
    assert.ok(
      room.every((byte) => byte === 0xee),
      "a forgery changes nothing",
    );
  return length < 0 ? "forged" : toHex(room.subarray(0, length));
}

test("RFC 3610 8: packet vectors 1 to 3, 7 to 9 and 13 to 15", () => {
  const constant = "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf";
  const random = "d7828d13b2b0bdc325a76236df93cc6b";
  const nonce = (middle: string): string => `00${middle}a0a1a2a3a4a5`;
  const counting = (length: number): string =>
    Array.from({ length }, (_, i) => i.toString(16).padStart(2, "0")).join("");
  // key, nonce, header and plaintext, header's length, tag's length, what is sent after the header
  const vectors: [string, string, string, number, number, string][] = [
    [
      constant,
      nonce("000003020100"),
      counting(31),
      8,
      8,
      "588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0",
    ],
    [
      constant,
      nonce("000004030201"),
      counting(32),
      8,
      8,
      "72c91a36e135f8cf291ca894085c87e3cc15c439c9e43a3ba091d56e10400916",
    ],
    [
      constant,
      nonce("000005040302"),
      counting(33),
      8,
      8,
      "51b1e5f44a197d1da46b0f8e2d282ae871e838bb64da8596574adaa76fbd9fb0c5",
    ],
    [
      constant,
      nonce("000009080706"),
      counting(31),
      8,
      10,
      "0135d1b2c95f41d5d1d4fec185d166b8094e999dfed96c048c56602c97acbb7490",
    ],
    [
      constant,
      nonce("00000a090807"),
      counting(32),
      8,
      10,
      "7b75399ac0831dd2f0bbd75879a2fd8f6cae6b6cd9b7db24c17b4433f434963f34b4",
    ],
    [
      constant,
      nonce("00000b0a0908"),
      counting(33),
      8,
      10,
      "82531a60cc24945a4b8279181ab5c84df21ce7f9b73f42e197ea9c07e56b5eb17e5f4e",
    ],
    [
      random,
      "00412b4ea9cdbe3c9696766cfa",
      "0be1a88bace018b108e8cf97d820ea258460e96ad9cf5289054d895ceac47c",
      8,
      8,
      "4cb97f86a2a4689a877947ab8091ef5386a6ffbdd080f8e78cf7cb0cddd7b3",
    ],
    [
      random,
      "0033568ef7b2633c9696766cfa",
      "63018f76dc8a1bcb9020ea6f91bdd85afa0039ba4baff9bfb79c7028949cd0ec",
      8,
      8,
      "4ccb1e7ca981befaa0726c55d378061298c85c92814abc33c52ee81d7d77c08a",
    ],
    [
      random,
      "00103fe41336713c9696766cfa",
      "aa6cfa36cae86b40b916e0eacc1c00d7dcec68ec0b3bbb1a02de8a2d1aa346132e",
      8,
      8,
      "b1d23a2220ddc0ac900d9aa03c61fcf4a559a4417767089708a776796edb723506",
    ],
  ];
  for (const [key, iv, packet, header, tag, wanted] of vectors) {
    const [k, n, all] = [hex(key), hex(iv), hex(packet)];
    const aad = all.subarray(0, header);
    assert.equal(toHex(sealed(k, n, aad, all.subarray(header), tag)), wanted);
    assert.equal(opened(k, n, aad, hex(wanted), tag), toHex(all.subarray(header)));
  }
});

test("RFC 3610: agrees with the system's own for every length of everything, and opens nothing that was bent", () => {
  const rng = seededRng(8);
  const lengths = Array.from({ length: ccm.longest + 1 }, (_, length) => length);
  for (const length of lengths) {
    for (const tag of [4, 8, 16]) {
      const key = rng.bytes(16);
      const nonce = rng.bytes(7 + (length % 7));
      const aad = rng.bytes(length > 100 ? length * 2 : 1 + ((length * 5) % 50));
      const plaintext = rng.bytes(length);
      const ours = sealed(key, nonce, aad, plaintext, tag);
      assert.equal(toHex(ours), toHex(reference(key, nonce, aad, plaintext, tag)));
      assert.equal(opened(key, nonce, aad, ours, tag), toHex(plaintext));
      for (const at of [0, length >> 1, length, ours.length - 1]) {
        const bent = Uint8Array.from(ours);
        bent[at]! ^= 0x10; // within
        assert.equal(opened(key, nonce, aad, bent, tag), "forged");
      }
      const other = Uint8Array.from(aad);
      other[aad.length - 1]! ^= 1; // one at least
      assert.equal(opened(key, nonce, other, ours, tag), "forged");
    }
  }
});

test("FIPS 197 B and C.1: every byte goes through SubBytes and the key schedule as it should", () => {
  // One block of data under each of 256 keys and blocks, where each byte value comes in each place.
  for (let value = 0; value < 256; value++) {
    const key = Uint8Array.from({ length: 16 }, (_, n) => value + 16 * n + n);
    const nonce = Uint8Array.from({ length: 12 }, (_, n) => times(value, n + 1));
    const plaintext = new Uint8Array(16).fill(value);
    assert.equal(
      toHex(sealed(key, nonce, key, plaintext, 16)),
      toHex(reference(key, nonce, key, plaintext, 16)),
    );
  }
});

test("nothing of a key is left in the program's memory", () => {
  const { WebAssembly } = globalThis as unknown as {
    readonly WebAssembly: {
      readonly Module: new (bytes: Uint8Array) => object;
      readonly Instance: new (module: object) => {
        readonly exports: {
          readonly run: (...numbers: readonly number[]) => void;
          readonly memory: { readonly buffer: ArrayBuffer };
        };
      };
    };
  };
  const { run, memory } = new WebAssembly.Instance(new WebAssembly.Module(ccmProgram())).exports;
  const bytes = new Uint8Array(memory.buffer);
  bytes.fill(0x5a, KEY, KEY + 16);
  bytes.fill(0x01, A0, A0 + 16);
  bytes.fill(0x01, INPUT, INPUT + 48);
  const before = Uint8Array.from(bytes);
  run(1, 1, 0, 16);
  const changed = bytes.findIndex((byte, at) => at >= INPUT && byte !== before[at]);
  assert.ok(changed >= INPUT + 32, "it ran: the data is another");
  const tag = A0 + 16; // and its 16 bytes are the only ones below the input that may be left
  assert.ok(bytes.subarray(KEY, A0).every((byte) => byte === 0));
  assert.ok(bytes.subarray(tag + 16, INPUT).every((byte) => byte === 0));
});

test("nothing of a key, of the key stream, of a tag or of a plaintext is left after a message, opened or refused", () => {
  type Exports = { readonly run: never; readonly memory: { readonly buffer: ArrayBuffer } };
  const { WebAssembly } = globalThis as unknown as {
    readonly WebAssembly: {
      validate(bytes: Uint8Array): boolean;
      readonly Module: new (bytes: Uint8Array) => object;
      readonly Instance: new (module: object) => { readonly exports: Exports };
    };
  };
  let memory = new Uint8Array();
  class Watched extends WebAssembly.Instance {
    constructor(module: object) {
      super(module);
      memory = new Uint8Array(this.exports.memory.buffer);
    }
  }
  const { Module } = WebAssembly;
  const own = newAesCcm({
    validate: (bytes) => WebAssembly.validate(bytes),
    Module,
    Instance: Watched,
  });
  assert.ok(own !== undefined);
  const rng = seededRng(4);
  const [key, nonce, aad] = [rng.bytes(16), rng.bytes(12), rng.bytes(20)];
  /** Where 4 bytes of the secret stand in the program's memory. */
  const finds = (secret: Uint8Array): boolean => {
    const all = toHex(memory);
    for (let at = 0; at + 4 <= secret.length; at++)
      if (all.includes(toHex(secret.subarray(at, at + 4)))) return true;
    return false;
  };
  for (const length of [1, 16, 40, own.longest]) {
    const plaintext = rng.bytes(length).map((byte) => byte | 1);
    const out = new Uint8Array(length + 8);
    own.seal(key, nonce, aad, plaintext, 8, out, 0);
    const tag = out.slice(length);
    const stream = out.subarray(0, length).map((byte, at) => byte ^ plaintext[at]!); // as long
    const isClean = (when: string): void => {
      for (const [name, secret] of Object.entries({ key, tag, plaintext, stream }))
        assert.equal(finds(secret), false, `${name} of ${length} bytes, ${when}`);
    };
    isClean("sealed");
    const room = new Uint8Array(length);
    assert.equal(own.open(key, nonce, aad, out, 0, 8, room), length);
    assert.deepEqual(room, plaintext);
    isClean("opened");
    out[length]! ^= 1; // the tag alone
    assert.equal(own.open(key, nonce, aad, out, 0, 8, room), -1);
    isClean("refused");
  }
});

test("RFC 3610 2: tags of 4, 6, 8, 10, 12, 14 and 16 bytes, and no others", () => {
  const [key, nonce, aad] = [new Uint8Array(16), new Uint8Array(12), new Uint8Array(13)];
  const out = new Uint8Array(100);
  const fits = (tag: number): boolean => {
    try {
      ccm.seal(key, nonce, aad, new Uint8Array(5), tag, out, 0);
      return ccm.open(key, nonce, aad, out.subarray(0, 5 + tag), 0, tag, new Uint8Array(5)) === 5;
    } catch (fault) {
      assert.ok(fault instanceof UsageError);
      assert.throws(() => ccm.open(key, nonce, aad, out.subarray(0, 40), 0, tag, out), UsageError);
      return false;
    }
  };
  const tags = [
    -8,
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    8.5,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    20,
    24,
    32,
    40,
    Number.NaN,
    Infinity,
  ];
  assert.deepEqual(tags.filter(fits), [4, 6, 8, 10, 12, 14, 16]);
});

test("what has no room, or begins outside, is refused before anything is written", () => {
  const [key, nonce, aad] = [new Uint8Array(16), new Uint8Array(12), new Uint8Array(13)];
  const message = new Uint8Array(5);
  for (const [length, at] of [
    [12, 0],
    [13, 1],
    [20, 8],
    [20, -1],
    [20, 0.5],
    [20, Number.NaN],
  ] as const) {
    const out = new Uint8Array(length).fill(0xee);
    assert.throws(
      () => ccm.seal(key, nonce, aad, message, 8, out, at),
      UsageError,
      `${length} ${at}`,
    );
    assert.ok(out.every((byte) => byte === 0xee));
  }
  ccm.seal(key, nonce, aad, message, 8, new Uint8Array(13), 0);
  ccm.seal(key, nonce, aad, message, 8, new Uint8Array(20), 7);
  const sealed = new Uint8Array(20);
  ccm.seal(key, nonce, aad, message, 8, sealed, 7);
  assert.equal(ccm.open(key, nonce, aad, sealed, 7, 8, new Uint8Array(5)), 5);
  assert.throws(() => ccm.open(key, nonce, aad, sealed, 7, 8, new Uint8Array(4)), UsageError);
  for (const from of [-1, 0.5, 13, Number.NaN, 2 ** 32]) {
    assert.throws(
      () => ccm.open(key, nonce, aad, sealed, from, 8, new Uint8Array(40)),
      UsageError,
      `${from}`,
    );
  }
});

test("lengths that it does not take are the caller's fault", () => {
  const [key, nonce, aad, out] = [
    new Uint8Array(16),
    new Uint8Array(12),
    new Uint8Array(13),
    new Uint8Array(2_000),
  ];
  const none = new Uint8Array(0);
  for (const [k, n, a, length, tag] of [
    [new Uint8Array(32), nonce, aad, 1, 8],
    [key, new Uint8Array(6), aad, 1, 8],
    [key, new Uint8Array(14), aad, 1, 8],
    [key, nonce, none, 1, 8],
    [key, nonce, new Uint8Array(2 * ccm.longest + 1), 1, 8],
    [key, nonce, aad, ccm.longest + 1, 8],
    [key, nonce, aad, 1, 17],
  ] as const) {
    assert.throws(() => ccm.seal(k, n, a, new Uint8Array(length), tag, out, 0), UsageError);
  }
  assert.throws(() => ccm.open(key, nonce, aad, new Uint8Array(7), 0, 8, out), UsageError);
});
