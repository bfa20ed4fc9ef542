import type { Server } from "@godwit/server";
import type { FastifyInstance, FastifyReply } from "fastify";
import { sendProblem } from "./problem.ts";

/**
 * `GET /api/v1/events`: what happens, as server-sent events. A reader that comes back with Last-Event-ID gets what it
 * missed, as far as the ring holds it; a reader that does not keep up is cut off and comes back by itself.
 */
export function eventStream(app: FastifyInstance, server: Server): () => void {
  const ring: Entry[] = [];
  const readers = new Set<FastifyReply>();
  let last = Date.now() * 1_000;

  const publish = (type: string, data: () => unknown): void => {
    const entry: Entry = { id: ++last, type, data, text: undefined };
    ring.push(entry);
    if (ring.length > RING) ring.shift();
    for (const reader of readers) write(reader, entry);
  };
  const write = (reader: FastifyReply, entry: Entry): void => {
    entry.text ??= `id: ${entry.id}\nevent: ${entry.type}\ndata: ${JSON.stringify(entry.data())}\n\n`;
    const flowing = reader.raw.write(entry.text);
    if (!flowing && reader.raw.writableLength > BACKLOG) reader.raw.destroy();
  };
  const stops = [
    server.on("registered", ({ device, replaced }) =>
      publish("registered", () => ({ device, replaced })),
    ),
    server.on("updated", (event) =>
      publish("updated", () => {
        const { device, moved, changed } = event;
        return { device, moved, changed };
      }),
    ),
    server.on("deregistered", (event) => publish("deregistered", () => event)),
    server.on("task", ({ task }) => publish("task", () => task)),
    server.on("notification", (event) => publish("notification", () => event)),
    server.on("observation", (event) => publish("observation", () => event)),
    server.on("observationSilent", (event) => publish("observationSilent", () => event)),
  ];
  const beat = setInterval(() => {
    for (const reader of readers) reader.raw.write(": still here\n\n");
  }, 15_000);
  beat.unref();

  app.get("/api/v1/events", { exposeHeadRoute: false }, async (request, reply) => {
    if (readers.size >= MAX_READERS) {
      const detail = `There are ${MAX_READERS} readers of events already. Try again when one of them has left.`;
      reply.header("retry-after", "10");
      return await sendProblem(reply, { status: 503, title: "Too many readers", detail });
    }
    reply.hijack();
    reply.raw.writeHead(200, {
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    });
    reply.raw.write("retry: 1000\n\n");
    const seen = Number(request.headers["last-event-id"] ?? Number.NaN);
    if (Number.isFinite(seen)) {
      for (const entry of ring) if (entry.id > seen) write(reply, entry);
    }
    readers.add(reply);
    reply.raw.on("close", () => readers.delete(reply));
    return reply;
  });

  return () => {
    clearInterval(beat);
    for (const stop of stops) stop();
    for (const reader of readers) reader.raw.end();
  };
}

/** `text` is made when somebody reads it: without a reader an event costs its place in the ring. */
type Entry = {
  readonly id: number;
  readonly type: string;
  readonly data: () => unknown;
  text: string | undefined;
};

const RING = 1_000;
const MAX_READERS = 200;
/** Bytes that may wait for one reader. */
const BACKLOG = 1_048_576;
