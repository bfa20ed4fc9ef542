import { Deadlines, type Instant } from "@godwit/base";
import type { ExchangeId, Request } from "@godwit/coap";
import { formatAttributes, type Attributes } from "../attributes.ts";
import { isWithin, samePath, type NodePath } from "../node-path.ts";
import { numeric, sameValue, type ValueNode } from "../value.ts";

//   quiet ──changed──> look (read the value; not within epmin) ──no condition met──> quiet
//                       │ condition met
//                       ├──pmin over──> notify
//                       └──else──> owed ──pmin over──> notify
//   pmax over, from anywhere ──> notify
//   no way to the server, or a notification did not arrive ──> owed                                                    OMA TS Core 7.3.1, 6.4

/** One observation by the server. */
export type Observation = {
  readonly exchange: ExchangeId;
  readonly path: NodePath;
  /** Content-Format the server asked for. */
  readonly accept: number | undefined;
  /** Attributes that came with the Observe (1.2) and replace those attached. */
  readonly own: Attributes | undefined;
  /** As the server asked, to take it up after a restart. */
  readonly token: Uint8Array;
  readonly request: Request;
};

/** Decides when the server hears of a value. Values come in by `looked`, after `due` has asked for them. */
export class Observations {
  readonly #effective: (observation: Observation) => Attributes;
  readonly #all = new Map<ExchangeId, Watched>();
  readonly #deadlines = new Deadlines<ExchangeId>();

  /** `effective`: the attributes that count for an observation now. */
  constructor(effective: (observation: Observation) => Attributes) {
    this.#effective = effective;
  }

  get size(): number {
    return this.#all.size;
  }

  get wakeAt(): Instant | undefined {
    return this.#deadlines.next;
  }

  get exchanges(): readonly ExchangeId[] {
    return Array.from(this.#all.keys());
  }

  at(exchange: ExchangeId): Observation | undefined {
    return this.#all.get(exchange);
  }

  /** Whether the path is observed. */
  has(path: NodePath): boolean {
    for (const watched of this.#all.values()) if (samePath(watched.path, path)) return true;
    return false;
  }

  /** One that this one takes the place of: of the same, asked for in the same way (RFC 7641 3.1). */
  hasTwin({ path, accept, own = NO_ATTRIBUTES }: Observation): boolean {
    const attributes = formatAttributes(own).join("&");
    for (const watched of this.#all.values()) {
      if (!samePath(watched.path, path) || watched.accept !== accept) continue;
      if (formatAttributes(watched.own ?? NO_ATTRIBUTES).join("&") === attributes) return true;
    }
    return false;
  }

  /** All of them, with the values as last notified. */
  *all(): IterableIterator<Observation & { readonly sent: readonly ValueNode[] }> {
    yield* this.#all.values();
  }

  /** From before a restart: what was notified last is known, but not whether it arrived, so the server is owed the value. */
  resume(observation: Observation, sent: readonly ValueNode[], now: Instant): void {
    this.add(observation, sent, now);
    const watched = this.#all.get(observation.exchange);
    if (watched === undefined) return;
    watched.sentAt = Number.NEGATIVE_INFINITY;
    this.owe(observation.exchange, now);
  }

  /** What was notified last did not arrive: the newest value is to follow. */
  owe(exchange: ExchangeId, now: Instant): boolean {
    const watched = this.#all.get(exchange);
    if (watched === undefined) return false;
    watched.state = "owed";
    this.#schedule(exchange, now);
    return true;
  }

  /** The first notification, with these values, has just been sent. */
  add(observation: Observation, nodes: readonly ValueNode[], now: Instant): void {
    this.#all.set(observation.exchange, {
      ...observation,
      sent: nodes,
      sentAt: now,
      seen: nodes,
      seenAt: now,
      looking: false,
      state: "quiet",
    });
    this.#schedule(observation.exchange, now);
  }

  remove(exchange: ExchangeId): Observation | undefined {
    const watched = this.#all.get(exchange);
    this.#all.delete(exchange);
    this.#deadlines.stop(exchange);
    return watched;
  }

  changed(path: NodePath, now: Instant): void {
    for (const watched of this.#all.values()) {
      if (!isWithin(path, watched.path) && !isWithin(watched.path, path)) continue;
      if (watched.state === "quiet") watched.state = "changed";
      this.#schedule(watched.exchange, now);
    }
  }

  /** Attached attributes have changed. */
  reschedule(now: Instant): void {
    for (const exchange of this.#all.keys()) this.#schedule(exchange, now);
  }

  /** An observation whose value must be looked at now. */
  due(now: Instant): Observation | undefined {
    const exchange = this.#deadlines.expired(now);
    const watched = exchange === undefined ? undefined : this.#all.get(exchange);
    if (watched === undefined) return undefined;
    watched.looking = true;
    if (watched.state === "changed") watched.state = "quiet"; // a change from here on is another one
    return watched;
  }

  /** The values that `due` asked for. "owed": the server is to be notified of them, but not now, for there is no way. */
  looked(
    exchange: ExchangeId,
    nodes: readonly ValueNode[],
    open: boolean,
    now: Instant,
  ): "quiet" | "notify" | "owed" {
    const watched = this.#all.get(exchange);
    if (watched === undefined) return "quiet";
    const attributes = this.#effective(watched);
    const late = attributes.pmax !== undefined && now >= watched.sentAt + attributes.pmax * 1_000;
    const owed = watched.state === "owed" || meets(attributes, watched, nodes);
    const free = now >= watched.sentAt + (attributes.pmin ?? 0) * 1_000;
    const due = late || (owed && free);
    const notify = due && open;
    watched.looking = false;
    watched.seen = nodes;
    watched.seenAt = now;
    if (notify) {
      watched.sent = nodes;
      watched.sentAt = now;
      if (watched.state === "owed") watched.state = "quiet";
    } else if (owed || late) watched.state = "owed";
    this.#schedule(exchange, now);
    return notify ? "notify" : due ? "owed" : "quiet";
  }

  /** The value could not be had; the next change or period tries again. */
  failed(exchange: ExchangeId, now: Instant): void {
    const watched = this.#all.get(exchange);
    if (watched === undefined) return;
    watched.looking = false;
    watched.sentAt = now; // else pmax would ask again at once
    watched.state = "quiet";
    this.#schedule(exchange, now);
  }

  #schedule(exchange: ExchangeId, now: Instant): void {
    const watched = this.#all.get(exchange);
    if (watched === undefined || watched.looking) return;
    const attributes = this.#effective(watched);
    const { pmin = 0, pmax, epmin = 0, epmax } = attributes;
    let next = pmax === undefined ? Infinity : watched.sentAt + pmax * 1_000;
    if (epmax !== undefined && epmax > 0) next = Math.min(next, watched.seenAt + epmax * 1_000);
    const pminOver = watched.sentAt + pmin * 1_000;
    if (watched.state === "owed") next = Math.min(next, pminOver);
    if (watched.state === "changed") {
      // With thresholds a crossing within pmin counts, so look at once; else what counts is the value when pmin ends.
      const earliest = conditional(attributes) ? now : Math.max(now, pminOver);
      next = Math.min(next, Math.max(earliest, watched.seenAt + epmin * 1_000));
    }
    if (next === Infinity) this.#deadlines.stop(exchange);
    else this.#deadlines.set(exchange, next);
  }
}

function conditional({ gt, lt, st, edge }: Attributes): boolean {
  return gt !== undefined || lt !== undefined || st !== undefined || edge !== undefined;
}

/** Whether the step from what was seen and sent before to `nodes` is one the server wants to hear of. */
function meets(
  attributes: Attributes,
  { seen, sent }: Watched,
  nodes: readonly ValueNode[],
): boolean {
  if (!conditional(attributes)) return !sameNodes(sent, nodes);
  return nodes.some((node) => {
    const before = valueAt(seen, node.path);
    const last = valueAt(sent, node.path);
    if (node.value === undefined || before === undefined || last === undefined) return true;
    const { gt, lt, st, edge } = attributes;
    if (edge !== undefined && node.value.type === "boolean") {
      return before.value !== node.value.value && node.value.value === (edge === 1);
    }
    const [is, was, told] = [numeric(node.value), numeric(before), numeric(last)];
    if (is === undefined || was === undefined || told === undefined) return false;
    return (
      (gt !== undefined && is > gt !== was > gt) ||
      (lt !== undefined && is < lt !== was < lt) ||
      (st !== undefined && Math.abs(is - told) >= st && is !== told)
    );
  });
}

function sameNodes(a: readonly ValueNode[], b: readonly ValueNode[]): boolean {
  if (a.length !== b.length) return false;
  return a.every(({ path, value }) => {
    const other = b.find((node) => samePath(node.path, path));
    if (other === undefined) return false;
    if (value === undefined || other.value === undefined) return value === other.value;
    return sameValue(value, other.value);
  });
}

function valueAt(nodes: readonly ValueNode[], path: NodePath): ValueNode["value"] {
  return nodes.find((node) => samePath(node.path, path))?.value;
}

type Watched = Observation & {
  /** As last notified. */
  sent: readonly ValueNode[];
  sentAt: Instant;
  /** As last looked at. */
  seen: readonly ValueNode[];
  seenAt: Instant;
  /** The value is being read. */
  looking: boolean;
  /** `changed`: to be looked at; `owed`: a condition was met within pmin. */
  state: "quiet" | "changed" | "owed";
};

const NO_ATTRIBUTES: Attributes = {};
