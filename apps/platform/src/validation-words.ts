import type { FastifyRequest } from "fastify";
import { z } from "zod";

/** What a request was refused for by its schema; see `validation` of Fastify's validation errors. */
export type SchemaFault = {
  readonly instancePath: string;
  readonly keyword: string;
  readonly message?: string | undefined;
  readonly params: unknown;
};

/** Names the parameter or the field that was wrong, and says which there are. */
export function validationWords(
  faults: readonly SchemaFault[],
  context: string | undefined,
  request: FastifyRequest,
): string {
  const words = faults.flatMap((fault) => {
    const name = fault.instancePath.slice(1);
    if (fault.keyword === "unrecognized_keys") {
      const { keys } = fault.params as { readonly keys: readonly string[] };
      return keys.map((key) => `${unknown(key, context)}${known(context, request)}`);
    }
    if (context === "querystring") return [`query parameter "${name}": ${fault.message ?? ""}`];
    if (context === "body") return [`${name === "" ? "body" : name}: ${fault.message ?? ""}`];
    return [`"${name}" in the path: ${fault.message ?? ""}`];
  });
  return words.join("; ");
}

function unknown(key: string, context: string | undefined): string {
  const what = JSON.stringify(key.slice(0, SHOWN));
  return context === "querystring"
    ? `there is no query parameter ${what} here`
    : `there is no field ${what} here`;
}

function known(context: string | undefined, request: FastifyRequest): string {
  const schema = request.routeOptions.schema?.[context === "querystring" ? "querystring" : "body"];
  if (!(schema instanceof z.ZodObject)) return "";
  const names = Object.keys(schema.shape as object);
  return names.length === 0 ? ", and no other" : `; there are: ${names.join(", ")}`;
}

/** Letters of a name that is repeated. */
const SHOWN = 64;
