import { HmacSha256, type Path, type Rng, equalSecret, utf8 } from "@godwit/base";
import type { HelloStart } from "./handshake/client-hello.ts";

/**
 * Cookies without memory (RFC 6347 4.2.1): a MAC over the path and those parts of a ClientHello that its repetition must
 * keep. Extensions are left out, for real clients change them between their hellos. The key follows the clock, so
 * a cookie lives for one to two periods.
 */
export class CookieJar {
  readonly #secret: HmacSha256;
  readonly #length: number;
  readonly #period: number;
  #keys: readonly [number, HmacSha256, HmacSha256] | undefined;

  /** `length`: of a cookie, in bytes, 8 to 32. `period`: how long one key makes cookies, in ms. */
  constructor(rng: Rng, length: number, period: number) {
    this.#secret = new HmacSha256(rng.bytes(32));
    this.#length = length;
    this.#period = period;
  }

  /**
   * The cookie that the hello must show; undefined where it shows one of ours for this path, made in this period or the one
   * before.
   */
  wanted(path: Path, hello: HelloStart, now: number): Uint8Array | undefined {
    const { cookie } = hello;
    const [, current, past] = this.#keysAt(now);
    // Its strings cannot run into each other: no address has a space, and the rest has its lengths in it.
    const { local, remote } = path;
    const where = utf8(`${local.host} ${local.port} ${remote.host} ${remote.port} `);
    const wanted = this.#cookie(current, where, hello);
    if (cookie.length !== this.#length) return wanted;
    if (equalSecret(wanted, cookie)) return undefined;
    return equalSecret(this.#cookie(past, where, hello), cookie) ? undefined : wanted;
  }

  #keysAt(now: number): readonly [number, HmacSha256, HmacSha256] {
    const period = Math.floor(now / this.#period);
    if (this.#keys?.[0] !== period) {
      this.#keys = [period, this.#key(period), this.#key(period - 1)];
    }
    return this.#keys;
  }

  #key(period: number): HmacSha256 {
    return new HmacSha256(this.#secret.of(utf8(`cookie ${period}`)));
  }

  #cookie(key: HmacSha256, where: Uint8Array, { before, behind }: HelloStart): Uint8Array {
    return key.of(where, before, behind).subarray(0, this.#length);
  }
}
