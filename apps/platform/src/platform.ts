import { readdirSync } from "node:fs";
import { join } from "node:path";
import fastifyCookie from "@fastify/cookie";
import fastifyHelmet from "@fastify/helmet";
import fastifyRateLimit from "@fastify/rate-limit";
import fastifyStatic from "@fastify/static";
import type { Server } from "@godwit/server";
import { fastify, type FastifyInstance } from "fastify";
import {
  serializerCompiler,
  validatorCompiler,
  hasZodFastifySchemaValidationErrors,
} from "fastify-type-provider-zod";
import type { Logger } from "pino";
import { ZodError, z } from "zod";
import { authenticate, type Auth } from "./auth.ts";
import { HTTP_TUNING, limitConnections, timeouts, type HttpTuning } from "./connections.ts";
import { credentialRoutes } from "./credentials.ts";
import { deviceRoutes } from "./devices.ts";
import { eventStream } from "./event-stream.ts";
import { metrics } from "./metrics.ts";
import { refuseStrayBodies } from "./stray-body.ts";
import { speakPlainly } from "./plain-words.ts";
import { refuseOtherOrigins } from "./origin.ts";
import { sendProblem } from "./problem.ts";
import { quarantineRoutes } from "./quarantine.ts";
import { refusalRoutes } from "./refusals.ts";
import { validationWords, type SchemaFault } from "./validation-words.ts";

export type PlatformOptions = {
  readonly server: Server;
  readonly auth: Auth;
  readonly log?: Logger;
  /** More of the state for the page, by endpoint name: what a simulation knows and a server cannot. */
  readonly simulation?: () => Readonly<Record<string, unknown>>;
  /** Hears of each wrong password, with the address it came from; there may be many. */
  readonly onWrongPassword?: (address: string) => void;
  /** Limits of connections and of the time that a request may take. */
  readonly http?: Partial<HttpTuning>;
};

export type Platform = {
  /** Binds; resolves with the address to open in a browser. */
  listen(host: string, port: number): Promise<string>;
  close(): Promise<void>;
  /** Every route of the API, such as "GET /api/v1/devices"; those of the page as one. */
  readonly routes: readonly string[];
};

/** The HTTP face of a server: REST API, live events, metrics and the page. */
export async function createPlatform(options: PlatformOptions): Promise<Platform> {
  const { server, auth, log, simulation } = options;
  const http = { ...HTTP_TUNING, ...options.http };
  speakPlainly();
  const app: FastifyInstance = fastify({
    bodyLimit: 1_048_576,
    frameworkErrors: (fault, _request, reply) =>
      void sendProblem(reply, { status: 400, title: "Bad request", detail: fault.message }),
    routerOptions: { maxParamLength: 1_024 },
    forceCloseConnections: true,
    ...timeouts(http),
  });
  limitConnections(app, http);
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  const routes: string[] = [];
  answerFaults(app, log, routes);
  app.addHook("onRoute", (route) => {
    if (PAGE_FILES.has(route.url)) return;
    for (const one of [route.method].flat()) {
      if (one !== "HEAD") routes.push(`${one} ${route.url}`);
    }
    // A parameter that nobody reads is a mistake of the caller: every route names those that it has.
    route.schema = { querystring: NO_PARAMETERS, ...route.schema };
  });
  await app.register(fastifyHelmet, HEADERS);
  await app.register(fastifyCookie);
  await app.register(fastifyRateLimit, { global: false, cache: MAX_SOURCES });
  refuseStrayBodies(app);
  refuseOtherOrigins(app, auth, FREE);
  authenticate(app, auth, FREE, options.onWrongPassword);
  app.get("/livez", async () => ({ status: "alive" }));
  app.get("/readyz", async (_request, reply) => {
    try {
      const health = server.storeHealth;
      const { addresses: coap, secureAddresses: coaps } = server;
      if (health.state === "working") return { status: "ready", coap, coaps };
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
  refusalRoutes(app, server);
  const stopEvents = eventStream(app, server);
  // A route for each file: a wildcard would not tell the files of the log-in form from the rest.
  await app.register(fastifyStatic, { root: PAGES, wildcard: false });
  routes.push("GET /*");

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

/** What went wrong goes out as a problem (RFC 9457) that says what to do. */
function answerFaults(
  app: FastifyInstance,
  log: Logger | undefined,
  routes: readonly string[],
): void {
  app.setErrorHandler(async (fault: Error & Exposed, request, reply) => {
    if (fault.expose === true && fault.statusCode !== undefined) {
      const [status, detail] = [fault.statusCode, fault.message];
      return await sendProblem(reply, { status, title: "Not available", detail });
    }
    if (hasZodFastifySchemaValidationErrors(fault)) {
      const faults = fault.validation as unknown as readonly SchemaFault[];
      const detail = validationWords(faults, fault.validationContext, request);
      return await sendProblem(reply, { status: 400, title: "Bad request", detail });
    }
    if (fault instanceof ZodError) {
      const faults = fault.issues.map(({ path, code, message, ...params }) => {
        return { instancePath: `/${path.join("/")}`, keyword: code, message, params };
      });
      const detail = validationWords(faults, "body", request);
      return await sendProblem(reply, { status: 400, title: "Bad request", detail });
    }
    const status = fault.statusCode ?? 500;
    if (status >= 500) log?.error({ err: fault }, "request failed");
    const detail =
      status >= 500
        ? "The server failed. Its log says why."
        : `${fault.message}${status === 415 ? ". Send JSON, with Content-Type: application/json." : ""}`;
    return await sendProblem(reply, {
      status,
      title: status >= 500 ? "Our fault" : "Bad request",
      detail,
    });
  });
  app.setNotFoundHandler(async (request, reply) => {
    const allowed = methodsAt(routes, request.url);
    if (allowed.length === 0)
      return await sendProblem(reply, {
        status: 404,
        title: "Not found",
        detail: "There is nothing here. The API is below /api/v1.",
      });
    reply.header("allow", allowed.join(", "));
    return await sendProblem(reply, {
      status: 405,
      title: "Method not allowed",
      detail: `${request.method} is not possible here: use ${allowed.join(" or ")}.`,
    });
  });
}

/** The methods of what is at a URL, whatever is asked of it. */
function methodsAt(routes: readonly string[], url: string): readonly string[] {
  const asked = url.split("?", 1)[0]!.split("/"); // there is a first part
  const found = routes.flatMap((route) => {
    const [method = "", pattern = ""] = route.split(" ", 2);
    const parts = pattern.split("/");
    const rest = parts.at(-1) === "*";
    if (rest ? parts.length < 4 || asked.length < parts.length : asked.length !== parts.length)
      return []; // "/*" is the page's
    const fits = parts.every(
      (part, i) =>
        (rest && part === "*") || (part.startsWith(":") ? asked[i] !== "" : part === asked[i]),
    );
    return fits ? [method] : [];
  });
  return [...new Set(found)].toSorted();
}

/** A fault whose words are for the caller. */
type Exposed = {
  readonly statusCode?: number;
  readonly expose?: boolean;
  readonly validationContext?: string;
};

const PAGES = join(import.meta.dirname, "pages");
const PAGE_FILES: ReadonlySet<string> = new Set([
  "/",
  ...readdirSync(PAGES).map((name) => `/${name}`),
]);
/** The routes that need no password. The page itself leads to the log-in form; its files hold nothing secret. */
const FREE: ReadonlySet<string> = new Set([
  ...[...PAGE_FILES].filter((name) => name !== "/" && name !== "/index.html"),
  "/login",
  "/livez",
  "/readyz",
]);
/** Sources of wrong passwords that are remembered; the one that was quiet for the longest time is forgotten first. */
const MAX_SOURCES = 10_000;
const NO_PARAMETERS = z.strictObject({});
/** No HSTS and no policies that browsers refuse to keep: over plain HTTP they mean nothing. */
const HEADERS = {
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'", "data:"],
      connectSrc: ["'self'"],
      formAction: ["'self'"],
      baseUri: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
  strictTransportSecurity: false,
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
} as const;
