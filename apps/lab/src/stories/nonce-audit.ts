import crypto, { createHash } from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import { aesCcm, toHex, type AesCcm } from "@godwit/base";
import type { Host } from "@godwit/netsim";

/**
 * Watches every AEAD encryption while it is on, by node:crypto and by our own CCM: one key may meet one nonce once, or
 * again for the same message. It sees keys, so no protocol can hide a nonce from it. Where a connection id tells the key,
 * the wire is watched as well.
 */
export class NonceAudit {
  /** Encryptions seen. */
  sealed = 0;
  /** Nonces used for two messages: key and nonce in hex. */
  readonly faults: string[] = [];
  readonly #used = new Map<string, string>();
  /** Told of each encryption as it happens. */
  onSealed: ((seal: Sealed) => void) | undefined;

  /** Runs `play` under audit. */
  during(play: () => void): void {
    const real = crypto.createCipheriv;
    const watched = (...args: Parameters<typeof real>): ReturnType<typeof real> => {
      const cipher = real(...args);
      const [algorithm, key, nonce] = args;
      if (nonce !== null && AEAD.test(algorithm)) this.#watch(cipher, key, nonce);
      return cipher;
    };
    crypto.createCipheriv = watched as typeof real; // its overloads differ in the options alone
    syncBuiltinESMExports();
    const ccm = aesCcm() as Partial<Pick<AesCcm, "seal">> | undefined;
    const seal = ccm?.seal?.bind(ccm);
    if (ccm !== undefined && seal !== undefined)
      ccm.seal = (key, nonce, aad, plaintext, ...rest) => {
        const message = createHash("sha1").update(aad).update(plaintext).digest("base64");
        this.#sealed(inHex(key), inHex(nonce), message);
        seal(key, nonce, aad, plaintext, ...rest);
      };
    try {
      play();
    } finally {
      crypto.createCipheriv = real;
      syncBuiltinESMExports();
      delete ccm?.seal; // that of its class is left
    }
  }

  /** The records with a connection id that a host sends. */
  watchRecords({ link }: Host, cidLength: number): void {
    link.up.watch(({ bytes }) => {
      for (const { type, cid, fragment } of recordsOf(bytes, cidLength))
        if (type === TLS12_CID)
          this.#sealed(toHex(cid), toHex(fragment.subarray(0, 8)), toHex(fragment));
    });
  }

  #watch(cipher: ReturnType<typeof crypto.createCipheriv>, key: unknown, nonce: unknown): void {
    const digest = createHash("sha1");
    const aead = cipher as crypto.CipherCCM; // all AEADs have `setAAD`
    const setAAD = aead.setAAD.bind(aead);
    const update = aead.update.bind(aead) as (data: Uint8Array) => Buffer;
    aead.setAAD = (aad, options) => {
      digest.update(aad);
      return setAAD(aad, options);
    };
    aead.update = ((plaintext: Uint8Array) => {
      digest.update(plaintext);
      this.#sealed(inHex(key), inHex(nonce), digest.digest("base64"));
      return update(plaintext);
    }) as typeof aead.update;
  }

  #sealed(key: string, nonce: string, message: string): void {
    this.sealed += 1;
    const used = `${key} ${nonce}`;
    const before = this.#used.get(used);
    const reused = before !== undefined && before !== message;
    if (before === undefined) this.#used.set(used, message);
    else if (reused) this.faults.push(used);
    this.onSealed?.({ key, nonce, reused });
  }
}

/** One encryption; `reused`: its nonce has served for another message under this key. */
export type Sealed = { readonly key: string; readonly nonce: string; readonly reused: boolean };

function inHex(bytes: unknown): string {
  return Buffer.from(bytes as Uint8Array).toString("hex");
}

/** RFC 6347 4.1, RFC 9146 4. */
function* recordsOf(
  datagram: Uint8Array,
  cidLength: number,
): Generator<{ type: number; cid: Uint8Array; fragment: Uint8Array }> {
  for (let at = 0; at + 13 <= datagram.length;) {
    const type = datagram[at] ?? 0;
    const n = type === TLS12_CID ? cidLength : 0;
    const view = new DataView(datagram.buffer, datagram.byteOffset + at);
    const start = at + 13 + n;
    const end = start + view.getUint16(11 + n);
    const cid = datagram.subarray(at + 11, at + 11 + n);
    yield { type, cid, fragment: datagram.subarray(start, end) };
    at = end;
  }
}

const TLS12_CID = 25;
const AEAD = /-(ccm|gcm)$/;
