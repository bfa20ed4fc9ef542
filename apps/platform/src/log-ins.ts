import { randomBytes } from "node:crypto";

/** Browsers that have shown the password: at most 100, each for 12 hours. In memory: a restart logs everybody out. */
export class LogIns {
  readonly #until = new Map<string, number>();

  /** Returns what the browser shows from now on. */
  open(now: number): string {
    if (this.#until.size >= MAX_LOG_INS) {
      const [oldest] = this.#until.keys();
      this.#until.delete(oldest!); // there are some
    }
    const id = randomBytes(24).toString("base64url");
    this.#until.set(id, now + LOG_IN_MS);
    return id;
  }

  isLive(id: string | undefined, now: number): boolean {
    return id !== undefined && (this.#until.get(id) ?? 0) > now;
  }

  close(id: string | undefined): void {
    if (id !== undefined) this.#until.delete(id);
  }
}

const LOG_IN_MS = 12 * 3_600_000;
const MAX_LOG_INS = 100;
