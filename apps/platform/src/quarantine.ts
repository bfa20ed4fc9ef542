import type { Server } from "@godwit/server";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";

/** Records of the store that a start could not restore. What is in them is not shown: it may be secret. */
export function quarantineRoutes(root: FastifyInstance, server: Server): void {
  const app = root.withTypeProvider<ZodTypeProvider>();

  app.get("/api/v1/quarantine", { schema: { querystring: page } }, async ({ query }) => {
    const { items, limit, leftInPlace } = server.quarantine;
    const latest = items.toSorted((a, b) => b.at - a.at).slice(0, query.limit);
    return { total: items.length, limit, leftInPlace, items: latest };
  });
}

const page = z.object({ limit: z.coerce.number().int().min(1).max(1_000).default(100) });
