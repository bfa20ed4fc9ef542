import { createHash, timingSafeEqual } from "node:crypto";
import { normalizeIP } from "@fastify/rate-limit";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { LogIns } from "./log-ins.ts";
import { hasForeignHost } from "./origin.ts";
import { sendProblem } from "./problem.ts";

/**
 * Who may use the API. `password`: the administrator's, as a bearer token or through the log-in page. `open`: whoever
 * reaches a loopback address of this machine by its own name, for a demo.
 */
export type Auth =
  | {
      readonly kind: "password";
      readonly password: string;
      /** Where browsers reach the page, if by another name than its addresses, `localhost` and the machine's own. */
      readonly publicUrl?: string;
    }
  | { readonly kind: "open" };

/**
 * Refuses whoever does not show the password. `free`: the routes that need none. `onGuess` hears of wrong passwords, with
 * the address they came from. Register @fastify/cookie and @fastify/rate-limit first.
 */
export function authenticate(
  app: FastifyInstance,
  auth: Auth,
  free: ReadonlySet<string>,
  onGuess: (address: string) => void = () => undefined,
): void {
  app.get("/api/v1/access", async () => ({ by: auth.kind }));
  if (auth.kind === "open") return;

  const logIns = new LogIns();
  const guesses = app.createRateLimit({
    max: MAX_GUESSES,
    timeWindow: GUESS_WINDOW,
    // What comes under a foreign name (DNS rebinding, say) must not use up the guesses of the same machine's user.
    keyGenerator: (request) =>
      `${hasForeignHost(request, auth) ? "foreign " : ""}${normalizeIP(request.ip)}`,
  });

  /** Compares a password, and counts a wrong one against its source. Answers the request where it does not let in. */
  async function letsIn(
    request: FastifyRequest,
    reply: FastifyReply,
    password: string,
  ): Promise<boolean> {
    const right = same(password, auth.kind === "password" ? auth.password : "");
    if (!right) onGuess(request.ip);
    const counted = await guesses(request, { increment: !right });
    if (!counted.isAllowed && counted.isExceeded) {
      reply.header("retry-after", String(counted.ttlInSeconds));
      await sendProblem(reply, {
        status: 429,
        title: "Too many wrong passwords",
        detail: `Too many wrong passwords came from this address. Wait ${counted.ttlInSeconds} s, then try again.`,
      });
      return false;
    }
    if (!right) await wrongPassword(reply);
    return right;
  }

  app.addHook("onRequest", async (request, reply) => {
    if (free.has(request.routeOptions.url ?? "")) return undefined;
    const bearer = /^Bearer (.+)$/i.exec(request.headers.authorization ?? "")?.[1];
    if (bearer !== undefined) {
      return (await letsIn(request, reply, bearer)) ? undefined : reply;
    }
    if (logIns.isLive(request.cookies[COOKIE], Date.now())) return undefined;
    return await unauthorised(request, reply);
  });

  app
    .withTypeProvider<ZodTypeProvider>()
    .post("/login", { schema: { body: logInBody }, bodyLimit: 4_096 }, async (request, reply) => {
      if (!(await letsIn(request, reply, request.body.password))) return reply;
      const id = logIns.open(Date.now());
      return await reply.setCookie(COOKIE, id, COOKIE_OPTIONS).code(204).send();
    });

  app.post("/logout", async (request, reply) => {
    logIns.close(request.cookies[COOKIE]);
    return await reply.clearCookie(COOKIE, COOKIE_OPTIONS).code(204).send();
  });
}

async function wrongPassword(reply: FastifyReply): Promise<FastifyReply> {
  return await sendProblem(reply.header("www-authenticate", "Bearer"), {
    status: 401,
    title: "Wrong password",
    detail: "This is not the administrator's password.",
  });
}

async function unauthorised(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const wantsPage = (request.headers.accept ?? "").includes("text/html");
  if (wantsPage && request.method === "GET") return await reply.redirect("/login.html");
  return await sendProblem(reply.header("www-authenticate", "Bearer"), {
    status: 401,
    title: "Not logged in",
    detail:
      "Send the administrator's password as 'Authorization: Bearer …', or log in at /login.html.",
  });
}

/** Compares hashes, so that neither length nor content shows in the time it takes. */
function same(a: string, b: string): boolean {
  const [x, y] = [a, b].map((text) => createHash("sha256").update(text).digest());
  return timingSafeEqual(x!, y!); // two were made
}

const logInBody = z.strictObject({ password: z.string().max(1_024) });
const COOKIE = "godwit_session";
const COOKIE_OPTIONS = { httpOnly: true, sameSite: "strict", path: "/" } as const;
/** Wrong passwords that one source may try in `GUESS_WINDOW` ms: an IPv4 address, or a /64 of IPv6. */
const MAX_GUESSES = 10;
const GUESS_WINDOW = 60_000;
