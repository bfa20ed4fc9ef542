import { isIP } from "node:net";
import { subscriberPrefix } from "@godwit/base";
import type { FailureReason } from "@godwit/dtls";
import type { RefusalReason } from "@godwit/lwm2m";
import { ADVICE } from "./refusal-words.ts";

/** Somebody who was not let in, or asked for what is not done; plain data. Text that comes from devices is cut. */
export type RefusalView = {
  /** Where it was refused: in the DTLS handshake, by OSCORE, or at its Register, Update or De-register. */
  readonly stage: "handshake" | "oscore" | "registration";
  readonly reason: RefusedFor;
  /** The CoAP code of the answer, "4.03"; none where the peer is not told. */
  readonly code: string | undefined;
  /** The endpoint name that it claims, or that its credential belongs to. */
  readonly endpoint: string | undefined;
  /** The credential that it claims to have, as `credentials` lists it: "psk:dev01". */
  readonly identity: string | undefined;
  /** "192.0.2.1:40000", of the last time. */
  readonly address: string;
  /** What was wrong, in our own words. */
  readonly rule: string;
  /** What to do about it. */
  readonly advice: string;
  /** ms since 1970. */
  readonly firstAt: number;
  readonly lastAt: number;
  /** How often it came, where it was looked at: the same reason, source, endpoint and identity are one entry. */
  readonly count: number;
};

/** How often somebody was not let in since the start, by stage and reason: all, also those that were not looked at. */
export type RefusalCount = Pick<RefusalView, "stage" | "reason"> & { readonly times: number };

export type RefusedFor = RefusalReason | FailureReason | "unknownContext" | "forged" | "badOption";

/** What is known of a refusal when it happens. */
export type Refused = Pick<
  RefusalView,
  "stage" | "reason" | "code" | "endpoint" | "identity" | "address" | "rule"
>;

/** What happened, as far as it costs nothing to know. */
export type Refusing = Pick<RefusalView, "stage" | "reason"> & {
  /** Of the peer. */
  readonly host: string;
  /** ms since 1970. */
  readonly at: number;
};

/**
 * The latest refusals, newest first, those that are alike together. One source has at most so many entries: whoever floods
 * us with names does not push out the others. All are counted, but in a second at most so many are looked at, and of one host
 * (of IPv6 a /64) fewer: what is kept of a flood does not cost more than what the flood asks for, and does not hide who else was refused.
 */
export class Refusals {
  readonly #entries = new Map<string, RefusalView>();
  readonly #bySource = new Map<string, Set<string>>();
  readonly #counts = new Map<RefusedFor, Count>();
  /** How many were looked at since `#since`, in all and of each host. */
  #looked = 0;
  readonly #lookedOf = new Map<string, number>();
  #since = 0;

  /** Counts a refusal, and looks at it if there is room: `tell` says what is known of it. Returns the entry that it is in. */
  note({ stage, reason, host, at }: Refusing, tell: () => Refused): RefusalView | undefined {
    this.#count(stage, reason).times += 1;
    return this.#mayLook(host, at) ? this.#add(tell(), at) : undefined;
  }

  #count(stage: RefusalView["stage"], reason: RefusedFor): Count {
    const known = this.#counts.get(reason);
    if (known !== undefined) return known;
    const count = { stage, times: 0 };
    this.#counts.set(reason, count);
    return count;
  }

  #mayLook(host: string, at: number): boolean {
    if (at < this.#since || at >= this.#since + SECOND) {
      this.#since = at;
      this.#looked = 0;
      this.#lookedOf.clear();
    }
    if (this.#looked >= LOOKED_AT) return false;
    const subscriber = subscriberPrefix(host);
    const ofHost = this.#lookedOf.get(subscriber) ?? 0;
    if (ofHost >= (this.#looked < LOOKED_AT / 2 ? LOOKED_AT_OF_HOST : LAST_OF_HOST)) return false;
    this.#looked += 1;
    this.#lookedOf.set(subscriber, ofHost + 1);
    return true;
  }

  #add(refused: Refused, at: number): RefusalView {
    const { reason, address } = refused;
    const source = sourceOf(address);
    const shown = {
      ...refused,
      endpoint: cut(refused.endpoint),
      identity: cut(refused.identity),
      rule: cut(refused.rule) ?? "",
    };
    const key = JSON.stringify([reason, source, shown.endpoint, shown.identity, shown.rule]);
    const known = this.#entries.get(key);
    const entry: RefusalView = {
      ...shown,
      advice: ADVICE[reason],
      firstAt: known?.firstAt ?? at,
      lastAt: at,
      count: (known?.count ?? 0) + 1,
    };
    this.#entries.delete(key); // the newest stand last
    this.#entries.set(key, entry);
    if (known === undefined) this.#makeRoom(source, key);
    return entry;
  }

  /** The newest first, at most `limit`. */
  list(
    limit: number,
    wanted: { readonly reason?: string | undefined; readonly endpoint?: string | undefined } = {},
  ): readonly RefusalView[] {
    const { reason, endpoint } = wanted;
    return [...this.#entries.values()]
      .toReversed()
      .filter(
        (one) =>
          (reason === undefined || one.reason === reason) &&
          (endpoint === undefined || one.endpoint === endpoint),
      )
      .slice(0, limit);
  }

  /** How many there were since the start, by reason. */
  get counts(): readonly RefusalCount[] {
    return [...this.#counts].map(([reason, { stage, times }]) => ({ stage, reason, times }));
  }

  #makeRoom(source: string, key: string): void {
    const own = this.#bySource.get(source) ?? new Set();
    this.#bySource.set(source, own.add(key));
    if (own.size > PER_SOURCE) this.#forget(own.values().next().value ?? key);
    if (this.#entries.size > ENTRIES) this.#forget(this.#entries.keys().next().value ?? key);
  }

  #forget(key: string): void {
    const entry = this.#entries.get(key);
    this.#entries.delete(key);
    const source = sourceOf(entry?.address ?? "");
    const own = this.#bySource.get(source);
    own?.delete(key);
    if (own?.size === 0) this.#bySource.delete(source);
  }
}

/** Who sent something, as far as limits go: an IPv4 address, or the /64 of an IPv6 address. `address`: "host:port", or a host. */
export function sourceOf(address: string): string {
  const host =
    isIP(address) === 6 ? address : address.replace(/:\d+$/, "").replaceAll(/[[\]]/g, "");
  return subscriberPrefix(host);
}

function cut(text: string | undefined): string | undefined {
  return text === undefined || text.length <= LETTERS ? text : `${text.slice(0, LETTERS)}…`;
}

/** A reason belongs to one stage. */
type Count = {
  readonly stage: RefusalView["stage"];
  times: number;
};

const SECOND = 1_000;
/** In a second. */
const LOOKED_AT = 200;
const LOOKED_AT_OF_HOST = 50;
/** Once half of those are looked at: a few loud hosts leave room for others. */
const LAST_OF_HOST = 5;
const ENTRIES = 1_000;
const PER_SOURCE = 50;
const LETTERS = 256;
