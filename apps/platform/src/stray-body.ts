import type { FastifyInstance } from "fastify";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The handler reads the body, and refuses one that it does not want. */
    readonly readsBody?: true;
  }
}

/** A body that nobody reads is a mistake of the caller, as is a parameter. */
export function refuseStrayBodies(app: FastifyInstance): void {
  app.addHook("preValidation", async ({ body, routeOptions }) => {
    if (body === undefined || body === null) return;
    if (routeOptions.schema?.body !== undefined || routeOptions.config.readsBody === true) return;
    throw new StrayBodyError();
  });
}

/** Answered as a problem with these words. */
export class StrayBodyError extends Error {
  readonly statusCode = 400;
  readonly expose = true;

  constructor() {
    super("this request takes no body");
  }
}
