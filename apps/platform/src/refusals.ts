import { refusalReasons, type Server } from "@godwit/server";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { numberBetween } from "./query-values.ts";

/** `GET /api/v1/refusals`: who was not let in, and what to do about it. */
export function refusalRoutes(root: FastifyInstance, server: Server): void {
  const app = root.withTypeProvider<ZodTypeProvider>();
  app.get("/api/v1/refusals", { schema: { querystring: wanted } }, async ({ query }) => {
    const { limit, ...filter } = query;
    const counts = Object.fromEntries(
      server.refusalCounts.map(({ reason, times }) => [reason, times]),
    );
    return { counts, items: server.refusals(limit, filter) };
  });
}

const wanted = z.strictObject({
  limit: numberBetween(1, 1_000).default(100),
  reason: z.enum(refusalReasons()).optional(),
  endpoint: z.string().max(255).optional(),
});
