import { UsageError } from "./faults.ts";
import { utf8 } from "./text.ts";

/** What one option may be. Without a rule an option is unknown. */
export type Rule = {
  /** Ends the sentence "lifetime must be …". */
  readonly wanted: string;
  fits(value: unknown): boolean;
  readonly required?: true;
  /** Not to be repeated in a message. */
  readonly secret?: true;
  /** Looks into an object that fits. @throws UsageError */
  inner?(what: string, value: object): void;
};

/** A rule for each option of `T`; one that is missing is a compile error. */
export type Rules<T> = { readonly [K in keyof Required<T>]: Rule };

/**
 * Looks at options that a program gave, at run time: unknown names, what is missing, wrong types, values out of range.
 * `what` begins each message, such as "new Device()".
 *
 * @throws UsageError that names the option; for an unknown one with the nearest name that exists
 */
export function checkOptions<T>(what: string, given: unknown, rules: Rules<T>): asserts given is T {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw invalid(`${what}: options are one object, not ${shown(given)}`);
  }
  const known: Readonly<Record<string, Rule>> = rules;
  for (const name of Object.keys(given)) checkName(what, "option", name, Object.keys(known));
  for (const [name, rule] of Object.entries(known)) {
    const value = (given as Readonly<Record<string, unknown>>)[name];
    if (value !== undefined) check(what, name, value, rule);
    else if (rule.required) throw invalid(`${what}: ${name} is missing: ${rule.wanted}`);
  }
}

/** One value by its rule. @throws UsageError that names it */
export function check(what: string, name: string, value: unknown, rule: Rule): void {
  if (!rule.fits(value)) {
    const instead = rule.secret ? "" : `, not ${shown(value)}`;
    throw invalid(`${what}: ${name} must be ${rule.wanted}${instead}`);
  }
  if (typeof value === "object" && value !== null) rule.inner?.(`${what}: ${name}`, value);
}

/** @throws UsageError unless `name` is one of `names`; `kind` says what they name, such as "event" */
export function checkName(
  what: string,
  kind: string,
  name: unknown,
  names: readonly string[],
): void {
  if (typeof name === "string" && names.includes(name)) return;
  const near = typeof name === "string" ? nearest(name, names) : undefined;
  const hint =
    near === undefined ? `those there are: ${names.join(", ")}` : `did you mean "${near}"?`;
  throw invalid(`${what}: there is no ${kind} ${shown(name)}; ${hint}`);
}

export function required(rule: Rule): Rule {
  return { ...rule, required: true };
}

/** Text of so many bytes in UTF-8, without control characters. */
export function text(min: number, max: number): Rule {
  return {
    wanted: `text of ${min} to ${max} bytes without control characters`,
    fits(value) {
      if (typeof value !== "string" || CONTROL.test(value)) return false;
      const { length } = utf8(value);
      return length >= min && length <= max;
    },
  };
}

export function whole(min: number, max: number, unit = ""): Rule {
  const fits = (value: unknown): boolean =>
    Number.isInteger(value) && Number(value) >= min && Number(value) <= max;
  return { wanted: `a whole number from ${min} to ${max}${unit && ` (${unit})`}`, fits };
}

export function finite(min: number = -Infinity, max: number = Infinity): Rule {
  const range =
    min === -Infinity ? "" : max === Infinity ? ` of at least ${min}` : ` from ${min} to ${max}`;
  const fits = (value: unknown): boolean =>
    Number.isFinite(value) && Number(value) >= min && Number(value) <= max;
  return { wanted: `a finite number${range}`, fits };
}

export function oneOf(...values: readonly (string | number)[]): Rule {
  const words = values.map((value) => JSON.stringify(value)).join(" or ");
  return { wanted: words, fits: (value) => values.includes(value as string | number) };
}

/** What fits one of them. */
export function either(...rules: readonly Rule[]): Rule {
  return {
    wanted: rules.map(({ wanted }) => wanted).join(", or "),
    fits: (value) => rules.some((rule) => rule.fits(value)),
    inner: (what, value) => rules.find((rule) => rule.fits(value))?.inner?.(what, value),
  };
}

export const flag: Rule = { wanted: "true or false", fits: (value) => typeof value === "boolean" };

export const bytes: Rule = {
  wanted: "bytes (a Uint8Array)",
  fits: (value) => value instanceof Uint8Array,
};

/** An object with these methods; what it is else is not looked at. `from` says where one comes from. */
export function withMethods(from: string, ...methods: readonly string[]): Rule {
  return {
    wanted: `${from}: an object with ${methods.map((name) => `${name}()`).join(", ")}`,
    fits: (value) =>
      typeof value === "object" &&
      value !== null &&
      methods.every((name) => typeof (value as Record<string, unknown>)[name] === "function"),
  };
}

/** An object of a kind, made by one of our functions: `kinds` are the words it may have as `kind`. */
export function ofKind(from: string, ...kinds: readonly string[]): Rule {
  return {
    wanted: from,
    fits: (value) =>
      typeof value === "object" &&
      value !== null &&
      kinds.includes((value as { readonly kind?: string }).kind ?? ""),
    secret: true,
  };
}

export function list(of: Rule): Rule {
  return {
    wanted: `an array, each ${of.wanted}`,
    fits: (value) => Array.isArray(value) && value.every((one) => of.fits(one)),
  };
}

export function record<T>(rules: Rules<T>): Rule {
  return {
    wanted: "an object",
    fits: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
    inner: (what, value) => checkOptions(what, value, rules),
  };
}

/** Figures that replace some of these defaults: the same names and types, and no number below 0. */
export function tuningLike(defaults: Readonly<Record<string, unknown>>): Rule {
  const rules = Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [
      name,
      typeof value === "number" ? finite(0) : flag,
    ]),
  );
  return record(rules);
}

/** The name that differs in the fewest letters, if those are few. */
function nearest(name: string, names: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.min(3, Math.ceil(name.length / 2) + 1);
  for (const one of names) {
    const distance = editDistance(name.toLowerCase(), one.toLowerCase());
    if (distance >= least) continue;
    least = distance;
    best = one;
  }
  return best;
}

/** Letters to add, take away or replace (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const letter of a.slice(0, LONGEST_NAME)) {
    const next = [row[0]! + 1]; // a row has at least one entry
    for (let i = 1; i <= b.length; i++) {
      const replaced = row[i - 1]! + (letter === b[i - 1] ? 0 : 1); // i is within the row
      next.push(Math.min(replaced, row[i]! + 1, next[i - 1]! + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

function shown(value: unknown): string {
  switch (typeof value) {
    case "string": {
      const cut = value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value;
      return JSON.stringify(cut);
    }
    case "number":
    case "boolean":
    case "undefined":
      return String(value);
    case "bigint":
      return `${value}n`;
    case "function":
      return "a function";
    case "symbol":
      return "a symbol";
    case "object":
      if (value === null) return "null";
      return Array.isArray(value) ? "an array" : "an object";
    default:
      return typeof value; // there is no other
  }
}

function invalid(message: string): UsageError {
  return new UsageError(message, "INVALID_OPTION");
}

const CONTROL = /\p{Cc}/u;
const SHOWN = 40;
const LONGEST_NAME = 40;
