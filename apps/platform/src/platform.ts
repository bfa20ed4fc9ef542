import { join } from "node:path";
import fastifyStatic from "@fastify/static";
import type { Server } from "@godwit/server";
import { fastify, type FastifyInstance } from "fastify";
import {
  serializerCompiler,
  validatorCompiler,
  hasZodFastifySchemaValidationErrors,
} from "fastify-type-provider-zod";
import type { Logger } from "pino";
import { ZodError } from "zod";
import { guard, type Auth } from "./auth.ts";
import { credentialRoutes } from "./credentials.ts";
import { deviceRoutes } from "./devices.ts";
import { eventStream } from "./event-stream.ts";
import { metrics } from "./metrics.ts";
import { sendProblem } from "./problem.ts";
import { quarantineRoutes } from "./quarantine.ts";

export type PlatformOptions = {
  readonly server: Server;
  readonly auth: Auth;
  readonly log?: Logger;
  /** More of the state for the page, by endpoint name: what a simulation knows and a server cannot. */
  readonly simulation?: () => Readonly<Record<string, unknown>>;
};

export type Platform = {
  /** Binds; resolves with the address to open in a browser. */
  listen(host: string, port: number): Promise<string>;
  close(): Promise<void>;
  /** Every route of the API, such as "GET /api/v1/devices". */
  readonly routes: readonly string[];
};

/** The HTTP face of a server: REST API, live events, metrics and the page. */
export async function createPlatform(options: PlatformOptions): Promise<Platform> {
  const { server, auth, log, simulation } = options;
  const app: FastifyInstance = fastify({
    bodyLimit: 1_048_576,
    routerOptions: { maxParamLength: 1_024 },
    forceCloseConnections: true,
  });
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler(async (fault: Error & Exposed, _request, reply) => {
    if (fault.expose === true && fault.statusCode !== undefined) {
      const [status, detail] = [fault.statusCode, fault.message];
      return await sendProblem(reply, { status, title: "Not available", detail });
    }
    if (hasZodFastifySchemaValidationErrors(fault)) {
      const detail = fault.validation.map((one) => `${one.instancePath} ${one.message}`).join("; ");
      return await sendProblem(reply, { status: 400, title: "Bad request", detail });
    }
    if (fault instanceof ZodError) {
      const detail = fault.issues
        .map((i) => `${i.path.join(".") || "body"}: ${i.message}`)
        .join("; ");
      return await sendProblem(reply, { status: 400, title: "Bad request", detail });
    }
    const status = fault.statusCode ?? 500;
    if (status >= 500) log?.error({ err: fault }, "request failed");
    const detail = status >= 500 ? "The server failed. Its log says why." : fault.message;
    return await sendProblem(reply, {
      status,
      title: status >= 500 ? "Our fault" : "Bad request",
      detail,
    });
  });
  app.setNotFoundHandler(
    async (_request, reply) =>
      await sendProblem(reply, {
        status: 404,
        title: "Not found",
        detail: "There is nothing here. The API is below /api/v1.",
      }),
  );
  app.addHook("onSend", async (_request, reply) => {
    for (const [name, value] of HEADERS) reply.header(name, value);
  });

  const routes: string[] = [];
  app.addHook("onRoute", ({ method, url }) => {
    for (const one of [method].flat()) if (one !== "HEAD") routes.push(`${one} ${url}`);
  });
  guard(app, auth);
  app.get("/livez", async () => ({ status: "alive" }));
  app.get("/readyz", async (_request, reply) => {
    try {
      const health = server.storeHealth;
      if (health.state === "working") return { status: "ready", coap: server.addresses };
      const reason = health.error.message;
      return await reply.code(503).send({ status: "not ready", store: health.state, reason });
    } catch {
      return await reply.code(503).send({ status: "starting" });
    }
  });
  const figures = metrics(server);
  app.get("/metrics", async (_request, reply) => {
    reply.header("content-type", figures.registry.contentType);
    return await figures.registry.metrics();
  });
  app.get("/api/v1/simulation", async () => simulation?.() ?? {});
  deviceRoutes(app, server);
  credentialRoutes(app, server);
  quarantineRoutes(app, server);
  const stopEvents = eventStream(app, server);
  await app.register(fastifyStatic, { root: join(import.meta.dirname, "pages") });

  return {
    routes,
    listen: (host, port) => app.listen({ host, port }),
    async close() {
      stopEvents();
      figures.stop();
      await app.close();
    },
  };
}

/** A fault whose words are for the caller. */
type Exposed = { readonly statusCode?: number; readonly expose?: boolean };

const HEADERS = [
  [
    "content-security-policy",
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  ],
  ["x-content-type-options", "nosniff"],
  ["referrer-policy", "no-referrer"],
] as const;
