import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { sendProblem } from "./problem.ts";

/**
 * Who may use the API. `password`: the administrator's, as a bearer token or through the log-in page. `open`: whoever
 * reaches a loopback address of this machine by its own name, for a demo; requests under any other name are
 * refused, so that no web page elsewhere can reach it through a name of its own (DNS rebinding).
 */
export type Auth =
  | { readonly kind: "password"; readonly password: string }
  | { readonly kind: "open" };

export function guard(app: FastifyInstance, auth: Auth): void {
  const sessions = new Sessions();
  const attempts = new Attempts();

  app.addHook("onRequest", async (request, reply) => {
    if (auth.kind === "open") {
      if (LOOPBACK.test(request.headers.host ?? "")) return undefined;
      return await sendProblem(reply, {
        status: 421,
        title: "Wrong host",
        detail: "This demo answers to 127.0.0.1 and localhost only.",
      });
    }
    if (PUBLIC.has(request.routeOptions.url ?? "")) return undefined;
    if (authorised(request, auth.password, sessions)) return undefined;
    return await unauthorised(request, reply);
  });

  if (auth.kind === "open") return;

  app.post("/login", async (request, reply) => {
    if (!attempts.allowed(Date.now())) {
      return await sendProblem(reply, {
        status: 429,
        title: "Too many attempts",
        detail: "Wait a minute, then try again.",
      });
    }
    const { password } = (request.body ?? {}) as { password?: unknown };
    if (typeof password !== "string" || !same(password, auth.password)) {
      attempts.failed(Date.now());
      return await sendProblem(reply, {
        status: 401,
        title: "Wrong password",
        detail: "The password is in the file that the first start named.",
      });
    }
    const cookie = `${COOKIE}=${sessions.open(Date.now())}; HttpOnly; SameSite=Strict; Path=/`;
    return await reply.header("set-cookie", cookie).code(204).send();
  });

  app.post("/logout", async (request, reply) => {
    sessions.close(cookieOf(request));
    return await reply
      .header("set-cookie", `${COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0`)
      .code(204)
      .send();
  });
}

function authorised(request: FastifyRequest, password: string, sessions: Sessions): boolean {
  const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
  if (bearer !== undefined) return same(bearer, password);
  return sessions.live(cookieOf(request), Date.now());
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

function cookieOf(request: FastifyRequest): string | undefined {
  return new RegExp(`(?:^|; )${COOKIE}=([\\w-]+)`).exec(request.headers.cookie ?? "")?.[1];
}

/** Compares hashes, so that neither length nor content shows in the time it takes. */
function same(a: string, b: string): boolean {
  const [x, y] = [a, b].map((text) => createHash("sha256").update(text).digest());
  return timingSafeEqual(x!, y!); // two were made
}

/** Log-ins of browsers; a few, and not for ever. */
class Sessions {
  readonly #until = new Map<string, number>();

  open(now: number): string {
    if (this.#until.size >= MAX_SESSIONS) {
      const [oldest] = this.#until.keys();
      this.#until.delete(oldest!); // there are some
    }
    const id = randomBytes(24).toString("base64url");
    this.#until.set(id, now + SESSION_MS);
    return id;
  }

  live(id: string | undefined, now: number): boolean {
    return id !== undefined && (this.#until.get(id) ?? 0) > now;
  }

  close(id: string | undefined): void {
    if (id !== undefined) this.#until.delete(id);
  }
}

/** Guessing is slow: so many wrong passwords a minute, from everywhere together. */
class Attempts {
  #failures: number[] = [];

  allowed(now: number): boolean {
    this.#failures = this.#failures.filter((at) => at > now - 60_000);
    return this.#failures.length < MAX_ATTEMPTS;
  }

  failed(now: number): void {
    this.#failures.push(now);
  }
}

const COOKIE = "godwit_session";
const SESSION_MS = 12 * 3_600_000;
const MAX_SESSIONS = 100;
const MAX_ATTEMPTS = 10;
const PUBLIC: ReadonlySet<string> = new Set([
  "/login",
  "/login.html",
  "/style.css",
  "/icon.svg",
  "/login.js",
  "/livez",
  "/readyz",
]);
const LOOPBACK = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?$/;
