import { FormatError } from "@godwit/base";
import type { LinkAttribute } from "@godwit/coap";
import { atLeast, type Lwm2mVersion } from "./version.ts";
import type { NodePath } from "./node-path.ts";
import { readQuery } from "./query.ts";
import { shown } from "./refusal.ts";
import { parseDecimal, plainDecimal } from "./text.ts";
import type { ValueType } from "./value.ts";

/** What a server can attach to a path for its observations (OMA TS Core 7.3); seconds where it is time. */
export type AttributeName =
  | "pmin"
  | "pmax"
  | "gt"
  | "lt"
  | "st"
  | "epmin"
  | "epmax"
  | "edge"
  | "con"
  | "hqmax";

export type Attributes = { readonly [name in AttributeName]?: number };

/** Write-Attributes: `null` takes an attribute away at this level. */
export type AttributeChange = { readonly [name in AttributeName]?: number | null };

/**
 * Reads the query of a Write-Attributes, or of an Observe of 1.2. `pmin=10` sets, a bare `pmin` takes away. Signs and exponents
 * are read in gt, lt and st though the grammar has none: thresholds of a signal strength are negative.
 *
 * @throws FormatError for an unknown name, one that `version` does not have, or a value out of its range
 */
export function parseAttributes(query: readonly string[], version: Lwm2mVersion): AttributeChange {
  const change: { [name in AttributeName]?: number | null } = {};
  for (const [name, text] of readQuery(query)) {
    const rule = isAttribute(name) ? RULES[name] : undefined;
    if (rule === undefined || !isAttribute(name))
      throw new FormatError(`unknown attribute "${shown(name)}"`);
    if (!atLeast(version, rule.since)) throw new FormatError(`${name} is not in LwM2M ${version}`);
    change[name] = text === undefined ? null : readValue(name, text, rule);
  }
  return change;
}

/** The query of a Write-Attributes. */
export function formatAttributes(change: AttributeChange): string[] {
  return NAMES.flatMap((name) => {
    const value = change[name];
    if (value === undefined) return [];
    return value === null ? name : `${name}=${plainDecimal(value)}`;
  });
}

/** As Discover shows them. */
export function attributeLinks(attributes: Attributes): LinkAttribute[] {
  return NAMES.flatMap((name) => {
    const value = attributes[name];
    return value === undefined ? [] : { name, value: plainDecimal(value) };
  });
}

export function applyAttributes(attributes: Attributes, change: AttributeChange): Attributes {
  const result: { [name in AttributeName]?: number } = { ...attributes };
  for (const name of NAMES) {
    const value = change[name];
    if (value === null) delete result[name];
    else if (value !== undefined) result[name] = value;
  }
  return result;
}

/**
 * Checks what may stand at `path`: gt, lt and st on numbers, edge on Booleans, the rest anywhere. `type`: of the resource, if the
 * path names one.
 *
 * @throws FormatError
 */
export function checkLevel(
  change: AttributeChange,
  path: NodePath,
  type: ValueType | undefined,
): void {
  for (const name of NAMES) {
    if (change[name] === undefined) continue;
    const { on } = RULES[name];
    if (on === undefined) continue;
    if (path.length < 3 || type === undefined || !on.has(type)) {
      throw new FormatError(
        `${name} belongs on a resource that is ${on === BOOLEAN ? "Boolean" : "a number"}`,
      );
    }
  }
}

/** OMA TS Core 7.3: `lt < gt`, `lt + 2·st < gt`, `epmin < epmax`. @throws FormatError */
export function checkConsistent({ gt, lt, st, epmin, epmax }: Attributes): void {
  if (gt !== undefined && lt !== undefined && !(lt < gt))
    throw new FormatError("lt is not below gt");
  if (gt !== undefined && lt !== undefined && st !== undefined && !(lt + 2 * st < gt)) {
    throw new FormatError("lt + 2 st is not below gt");
  }
  if (epmin !== undefined && epmax !== undefined && !(epmin < epmax))
    throw new FormatError("epmin is not below epmax");
}

/**
 * What counts for an observation of `path`: the closest level that has an attribute wins, and `defaults` (from /1) come last.
 * What is attached below `path` does not count. A pmax of 0 or below pmin is no pmax.
 */
export function effectiveAttributes(
  path: NodePath,
  at: (path: NodePath) => Attributes | undefined,
  defaults: Attributes = {},
): Attributes {
  const merged: { [name in AttributeName]?: number } = { ...defaults };
  for (let depth = 1; depth <= path.length; depth++)
    Object.assign(merged, at(path.slice(0, depth)));
  if (merged.pmax !== undefined && (merged.pmax === 0 || merged.pmax < (merged.pmin ?? 0)))
    delete merged.pmax;
  return merged;
}

function readValue(name: AttributeName, text: string, rule: Rule): number {
  if (rule.decimal === true) {
    const value = parseDecimal(text);
    if (name === "st" && value < 0) throw new FormatError("st is below 0");
    return value;
  }
  if (!/^\d{1,10}$/.test(text) || Number(text) > rule.max) {
    throw new FormatError(`${name} "${shown(text)}" is not 0..${rule.max}`);
  }
  return Number(text);
}

function isAttribute(name: string): name is AttributeName {
  return Object.hasOwn(RULES, name);
}

type Rule = {
  readonly since: Lwm2mVersion;
  readonly max: number;
  readonly decimal?: true;
  /** The types of resource it means something on; else it may stand anywhere. */
  readonly on?: ReadonlySet<ValueType>;
};

const NUMERIC: ReadonlySet<ValueType> = new Set(["integer", "unsigned", "float", "time"]);
const BOOLEAN: ReadonlySet<ValueType> = new Set(["boolean"]);
const SECONDS = 0xffff_ffff;

const RULES: Readonly<Record<AttributeName, Rule>> = {
  pmin: { since: "1.0", max: SECONDS },
  pmax: { since: "1.0", max: SECONDS },
  gt: { since: "1.0", max: Infinity, decimal: true, on: NUMERIC },
  lt: { since: "1.0", max: Infinity, decimal: true, on: NUMERIC },
  st: { since: "1.0", max: Infinity, decimal: true, on: NUMERIC },
  epmin: { since: "1.1", max: SECONDS },
  epmax: { since: "1.1", max: SECONDS },
  edge: { since: "1.2", max: 1, on: BOOLEAN },
  con: { since: "1.2", max: 1 },
  hqmax: { since: "1.2", max: 65_535 },
};

const NAMES = Object.keys(RULES) as AttributeName[]; // exactly its keys
