import { isIP } from "node:net";
import { hostname } from "node:os";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Auth } from "./auth.ts";
import { sendProblem } from "./problem.ts";

/**
 * Keeps web pages of other origins out: those of other sites, and those of other ports of this machine, which share its
 * cookies. What a page of ours or a program outside browsers sends goes through.
 *
 * - The Host must be a name of this server. Else a page elsewhere could reach it under a name of its own whose address is
 *   changed once the page is loaded (DNS rebinding). A bearer token makes up for it: no such page has one.
 * - A request that changes something, or that goes to the API, must not come from a page of another origin, by
 *   `Sec-Fetch-Site` and `Origin`. A cookie alone is not enough for one that changes something.
 */
export function refuseOtherOrigins(
  app: FastifyInstance,
  auth: Auth,
  free: ReadonlySet<string>,
): void {
  app.addHook("onRequest", async (request, reply) => {
    const bearer = auth.kind === "password" && request.headers.authorization !== undefined;
    if (bearer || PROBES.has(request.routeOptions.url ?? "")) return undefined;
    if (hasForeignHost(request, auth)) {
      return await sendProblem(reply, {
        status: 403,
        title: "Wrong host",
        detail: `This server is not known as ${JSON.stringify(request.headers.host ?? "")}. ${OWN_NAMES[auth.kind]}`,
      });
    }
    const changes = !SAFE.has(request.method);
    // By the route that it leads to: the URL may be written in many ways.
    const { url } = request.routeOptions;
    if (!changes && url !== undefined && (free.has(url) || !guarded(url))) return undefined;
    const fault = originFault(request, auth, changes);
    if (fault === undefined) return undefined;
    return await sendProblem(reply, {
      status: 403,
      title: "Request from another origin",
      detail: fault,
    });
  });
}

/** Whether the Host header is none of this server's names. */
export function hasForeignHost(request: FastifyRequest, auth: Auth): boolean {
  const name = hostName(request.headers.host);
  if (name === undefined) return true;
  if (auth.kind === "open") return !LOOPBACK.has(name);
  if (isIP(name) !== 0 || name === "localhost" || name === hostname().toLowerCase()) return false;
  return auth.publicUrl === undefined || new URL(auth.publicUrl).hostname !== name;
}

/** Whether a page of this server has this origin. A proxy in front may have put another Host into the request. */
function isOwn(origin: string, request: FastifyRequest, auth: Auth): boolean {
  const { host = "" } = request.headers;
  if (hostOf(origin) === host.toLowerCase()) return true;
  const { publicUrl } = auth.kind === "password" ? auth : {};
  return publicUrl !== undefined && new URL(publicUrl).origin === origin;
}

/** Why a request is refused for where it comes from; `undefined`: it is not. */
function originFault(request: FastifyRequest, auth: Auth, changes: boolean): string | undefined {
  const { origin, cookie } = request.headers;
  const site = request.headers["sec-fetch-site"];
  if (site !== undefined && site !== "same-origin" && site !== "none") {
    return "A page of another origin sent this request (Sec-Fetch-Site). Only pages of this server may.";
  }
  if (origin !== undefined && !isOwn(origin, request, auth)) {
    return "A page of another origin sent this request (Origin). Only pages of this server may.";
  }
  if (changes && cookie !== undefined && site === undefined && origin === undefined) {
    return "A cookie alone is not enough to change something. Send 'Authorization: Bearer …' with the password.";
  }
  return undefined;
}

function guarded(url: string): boolean {
  return url.startsWith("/api/") || url.startsWith("/metrics");
}

/** The host of an origin with its port, as a Host header has it; `undefined` for `null` and what is no origin. */
function hostOf(origin: string): string | undefined {
  try {
    return new URL(origin).host;
  } catch {
    return undefined;
  }
}

/** The name in a Host header: without its port, without the brackets of IPv6, in lower case. */
function hostName(host: string | undefined): string | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::\d{1,5})?$/.exec(host ?? "");
  return (match?.[1] ?? match?.[2])?.toLowerCase();
}

const SAFE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);
const LOOPBACK: ReadonlySet<string> = new Set(["127.0.0.1", "localhost", "::1"]);
/** They tell a supervisor that we run and nothing else, under whatever name it uses. */
const PROBES: ReadonlySet<string> = new Set(["/livez", "/readyz"]);
const OWN_NAMES = {
  open: "A demo answers to 127.0.0.1, localhost and [::1] only.",
  password:
    "Use its address, localhost or the machine's name, or name it with `godwit serve --public-url`.",
} as const;
