import {
  HmacSha256,
  type Path,
  type Rng,
  Writer,
  equalSecret,
  formatAddress,
  utf8,
} from "@godwit/base";
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

  make(path: Path, hello: HelloStart, now: number): Uint8Array {
    return this.#cookie(this.#keysAt(now)[1], path, hello);
  }

  /** Whether the hello shows a cookie of ours for this path, made in this period or the one before. */
  check(path: Path, hello: HelloStart, now: number): boolean {
    if (hello.cookie.length !== this.#length) return false;
    const [, current, past] = this.#keysAt(now);
    return (
      equalSecret(this.#cookie(current, path, hello), hello.cookie) ||
      equalSecret(this.#cookie(past, path, hello), hello.cookie)
    );
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

  #cookie(key: HmacSha256, path: Path, hello: HelloStart): Uint8Array {
    const bound = new Writer(160)
      .prefixed(1, (w) => w.append(utf8(formatAddress(path.local))))
      .prefixed(1, (w) => w.append(utf8(formatAddress(path.remote))))
      .u16(hello.version)
      .append(hello.random)
      .prefixed(1, (w) => w.append(hello.sessionId))
      .prefixed(2, (w) => hello.suites.forEach((suite) => w.u16(suite)))
      .prefixed(1, (w) => w.append(hello.compression))
      .bytes();
    return key.of(bound).slice(0, this.#length);
  }
}
