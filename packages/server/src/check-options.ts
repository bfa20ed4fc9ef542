import { isIP } from "node:net";
import { UsageError } from "@godwit/base";
import { coapTuning } from "@godwit/coap";
import { serverTuning } from "@godwit/lwm2m";

/** Looks at options as they come from a program without types. @throws UsageError that names the option */
export function checkServerOptions(options: unknown): void {
  const given = fieldsOf("options", options);
  for (const [name, value] of Object.entries(given)) {
    const check = CHECKS.get(name);
    if (check === undefined) {
      const known = [...CHECKS.keys()].join(", ");
      throw new UsageError(`Server has no option ${JSON.stringify(name)}; there are: ${known}`);
    }
    if (value !== undefined) check(name, value);
  }
  if (given["coap"] === undefined && given["coaps"] === undefined)
    throw new UsageError("Server needs coap or coaps: where it listens, such as 127.0.0.1:5683");
}

/** @throws UsageError unless these are options of an order */
export function checkOrderOptions(options: unknown): void {
  const { expires } = fieldsOf("options", options);
  if (expires === undefined) return;
  if (typeof expires !== "number" || !(expires > 0) || expires > LONGEST)
    throw new UsageError(`expires is ${show(expires)}: give ms, above 0 and up to ${LONGEST}`);
}

/** "127.0.0.1:5683", "[::1]:5683". @throws UsageError that says what to write */
export function parseAddress(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-f:.%\w]+)\]|([^:\s]+)):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new UsageError(
      `"${text}" is no address: write HOST:PORT, such as 127.0.0.1:5683 or [::]:5683`,
    );
  }
  return { host: match[1] ?? match[2]!, port }; // one of the two matched
}

type Check = (name: string, value: unknown) => void;

const CHECKS: ReadonlyMap<string, Check> = new Map([
  ["coap", listens],
  ["coaps", listens],
  ["dtls", (name, value) => void fieldsOf(name, value)],
  ["nosec", oneOf("boolean")],
  ["store", methods("load", "write", "flush", "close")],
  ["clock", methods("now", "wall", "toWall")],
  ["sealer", methods("seal", "open")],
  ["rolledBack", (name, value) => void fieldsOf(name, value)],
  ["tuning", like(serverTuning)],
  ["coapTuning", like(coapTuning())],
]);

function listens(name: string, value: unknown): void {
  if (typeof value !== "string")
    throw new UsageError(`${name} is ${show(value)}: give HOST:PORT, such as "127.0.0.1:5683"`);
  let host: string;
  try {
    ({ host } = parseAddress(value));
  } catch (cause) {
    throw new UsageError(`${name}: ${(cause as Error).message}`, { cause });
  }
  if (isIP(host.replace(/%.*$/, "")) === 0)
    throw new UsageError(`${name}: ${JSON.stringify(host)} is no IP address of this machine`);
}

function oneOf(type: "boolean" | "number"): Check {
  return (name, value) => {
    if (typeof value !== type) throw new UsageError(`${name} is ${show(value)}: give a ${type}`);
  };
}

function methods(...wanted: readonly string[]): Check {
  return (name, value) => {
    const given = value as Record<string, unknown>;
    const missing = wanted.find(
      (one) => typeof value !== "object" || value === null || typeof given[one] !== "function",
    );
    if (missing !== undefined) throw new UsageError(`${name} has no method ${missing}`);
  };
}

/** Fields of `defaults` and no others, of the same types; numbers from 0 up. */
function like(defaults: object): Check {
  const known = new Map(Object.entries(defaults));
  return (name, value) => {
    for (const [field, one] of Object.entries(fieldsOf(name, value))) {
      const usual: unknown = known.get(field);
      if (!known.has(field)) throw new UsageError(`${name} has no ${JSON.stringify(field)}`);
      if (one === undefined) continue;
      const fits = typeof one === typeof usual || usual === undefined;
      if (!fits || (typeof one === "number" && !(one >= 0)))
        throw new UsageError(
          `${name}.${field} is ${show(one)}: give ${typeof usual === "number" ? "a number from 0 up" : `a ${typeof usual}`}`,
        );
    }
  };
}

function fieldsOf(name: string, value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Readonly<Record<string, unknown>>;
  throw new UsageError(`${name} is ${show(value)}: give an object`);
}

function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 64));
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

/** ms; what a deadline can be. */
const LONGEST = 100 * 365 * 24 * 3_600_000;
