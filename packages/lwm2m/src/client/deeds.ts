import type { Instant } from "@godwit/base";
import {
  Code,
  diagnostic,
  response,
  type ExchangeId,
  type RequestName,
  type Response,
} from "@godwit/coap";

/** An order that must not be obeyed twice, and was begun. Plain data, see ClientSnapshot. */
export type Deed = {
  readonly name: RequestName;
  readonly since: Instant;
  /** undefined: we do not know what came of it. */
  readonly answer: Response | undefined;
};

/**
 * Remembers what must not be done twice from before it is done, so that a device that lost power in the middle tells its
 * server so, and does not do it again. The newest `limit` are kept.
 */
export class Deeds {
  readonly #limit: number;
  #all: readonly Deed[];
  /** Those without an answer, by their exchange. */
  readonly #begun = new Map<ExchangeId, RequestName>();

  constructor(limit: number, kept: readonly Deed[]) {
    this.#limit = limit;
    this.#all = kept;
  }

  get all(): readonly Deed[] {
    return this.#all;
  }

  begin(exchange: ExchangeId, name: RequestName, now: Instant): void {
    this.#begun.set(exchange, name);
    this.#all = [...this.#all, { name, since: now, answer: undefined }].slice(-this.#limit);
  }

  /** Whether it was one of them. 5.03 says that it was not done, and may be asked for again. */
  answered(exchange: ExchangeId, answer: Response): boolean {
    const name = this.#begun.get(exchange);
    if (name === undefined) return false;
    this.#begun.delete(exchange);
    this.#all =
      answer.code === Code.ServiceUnavailable
        ? this.#all.filter((deed) => deed.name !== name)
        : this.#all.map((deed) => (deed.name === name ? { ...deed, answer } : deed));
    return true;
  }
}

/** To who asks for it again. */
export function answerOf({ answer }: Deed): Response {
  return answer ?? response(Code.InternalServerError, { payload: diagnostic(UNKNOWN) });
}

const UNKNOWN = "the device restarted before it answered; it may have obeyed";
