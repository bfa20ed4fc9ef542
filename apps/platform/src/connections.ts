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
    http: {
      headersTimeout: tuning.headersTimeout,
      connectionsCheckingInterval: tuning.checkEvery,
    },
  };
}

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
