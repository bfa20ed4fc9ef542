import type { FastifyInstance } from "fastify";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The handler reads the body, and refuses one that it does not want. */
    readonly readsBody?: true;
  }
}

/** A body that nobody reads is a mistake of the caller, as is a parameter. None is none, whatever type the caller says it has. */
export function refuseStrayBodies(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeContentTypeParser("application/json");
  app.addContentTypeParser<string>(
    "application/json",
    { parseAs: "string" },
    (request, body, done) => {
      if (body === "") done(null, undefined);
      else void parse(request, body, done);
    },
  );
  app.addHook("preValidation", async ({ body, routeOptions }) => {
    if (body === undefined) return;
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
