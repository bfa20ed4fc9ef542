import type { Server } from "node:http";
import type { Socket } from "node:net";
import { normalizeIP } from "@fastify/rate-limit";
import type { FastifyInstance, FastifyHttpOptions } from "fastify";

/** How long a client may take for a request, and how many connections there are. */
export type HttpTuning = {
  /** ms for the headers of a request, from the first byte, or from when the connection was made. */
  readonly headersTimeout: number;
  /** ms for the whole request. */
  readonly requestTimeout: number;
  /** ms that a connection may be idle between two requests. */
  readonly keepAliveTimeout: number;
  /** ms between two looks at who is too slow. */
  readonly checkEvery: number;
  readonly maxConnections: number;
  /** Of one IPv4 address, or one /64 of IPv6. */
  readonly maxConnectionsPerSource: number;
};

export const HTTP_TUNING: HttpTuning = {
  headersTimeout: 10_000,
  requestTimeout: 20_000,
  keepAliveTimeout: 72_000,
  checkEvery: 1_000,
  maxConnections: 4_096,
  maxConnectionsPerSource: 512,
};

/** The options by which the HTTP server cuts off who sends half a request. */
export function timeouts(tuning: HttpTuning): FastifyHttpOptions<Server> {
  return {
    requestTimeout: tuning.requestTimeout,
    keepAliveTimeout: tuning.keepAliveTimeout,
    clientErrorHandler: answerHalf,
    http: {
      headersTimeout: tuning.headersTimeout,
      connectionsCheckingInterval: tuning.checkEvery,
    },
  };
}

/** What cannot be read as a request, or did not come in time, is answered in a few words and cut off. */
function answerHalf(fault: Error & { readonly code?: string }, socket: Socket): void {
  const [status, title, detail] = HALVES.get(fault.code ?? "") ?? NO_REQUEST;
  if (fault.code !== "ECONNRESET" && socket.writable && socket.bytesWritten === 0) {
    const body = JSON.stringify({ status, title, detail });
    const head = `HTTP/1.1 ${status} ${title}\r\nContent-Type: application/problem+json`;
    socket.write(
      `${head}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
  }
  socket.destroySoon();
}

type Half = readonly [status: number, title: string, detail: string];

const NO_REQUEST: Half = [400, "Bad Request", "This is no HTTP request."];
const HALVES: ReadonlyMap<string, Half> = new Map([
  ["ERR_HTTP_REQUEST_TIMEOUT", [408, "Request Timeout", "The request did not come in time."]],
  ["HPE_HEADER_OVERFLOW", [431, "Request Header Fields Too Large", "The headers are above 16 kB."]],
]);

/** Closes connections above the limits; those of one source leave room for everybody else. */
export function limitConnections(app: FastifyInstance, tuning: HttpTuning): void {
  const bySource = new Map<string, number>();
  app.server.maxConnections = tuning.maxConnections;
  app.server.on("connection", (socket: Socket) => {
    const source = normalizeIP(socket.remoteAddress ?? "");
    const open = bySource.get(source) ?? 0;
    if (open >= tuning.maxConnectionsPerSource) {
      socket.destroy();
      return;
    }
    bySource.set(source, open + 1);
    socket.once("close", () => {
      const left = (bySource.get(source) ?? 1) - 1;
      if (left === 0) bySource.delete(source);
      else bySource.set(source, left);
    });
  });
}
