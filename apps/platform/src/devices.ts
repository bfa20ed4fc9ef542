import { FormatError, UsageError } from "@godwit/base";
import {
  UNASSIGNED,
  createRequest,
  deleteRequest,
  discoverRequest,
  executeRequest,
  nodesOf,
  observeRequest,
  parseAttributes,
  parseNodePath,
  readRequest,
  writeAttributesRequest,
  writeRequest,
  type NodePath,
  type Plain,
} from "@godwit/lwm2m";
import { codeOfFailed, type Server, type Task } from "@godwit/server";
import type { FastifyInstance, FastifyReply } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { sendProblem, type Problem } from "./problem.ts";
import { flag, numberBetween, secondsUpTo } from "./query-values.ts";
import { StrayBodyError } from "./stray-body.ts";

/** Devices, and what can be done to them. Paths below a device are its LwM2M paths. */
export function deviceRoutes(root: FastifyInstance, server: Server): void {
  const app = root.withTypeProvider<ZodTypeProvider>();

  app.get("/api/v1/devices", { schema: { querystring: page } }, async ({ query }) => {
    const { cursor, q, limit } = query;
    const names = [...server.endpoints()]
      .filter(
        (name) => (cursor === undefined || name > cursor) && (q === undefined || name.includes(q)),
      )
      .toSorted();
    const items = names.slice(0, limit).map((name) => server.deviceView(name));
    const next = names.length > limit ? names[limit - 1] : undefined;
    return { total: server.deviceCount, items, next };
  });

  app.get("/api/v1/devices/:endpoint", { schema: { params: named } }, async (request, reply) => {
    const device = server.deviceView(request.params.endpoint);
    return device ?? (await unknown(reply, request.params.endpoint));
  });

  app.delete("/api/v1/devices/:endpoint", { schema: { params: named } }, async (request, reply) => {
    const { endpoint } = request.params;
    if (server.deviceView(endpoint) === undefined) return await unknown(reply, endpoint);
    const refusal = refusedByStore();
    if (refusal !== undefined) return await sendProblem(reply, refusal);
    server.remove(endpoint);
    await server.kept();
    return await reply.code(204).send();
  });

  app.get("/api/v1/devices/:endpoint/tasks", { schema: { params: named } }, async (request) => ({
    items: server.tasksOf(request.params.endpoint),
  }));

  app.get(
    "/api/v1/tasks/:id",
    { schema: { params: z.strictObject({ id }) } },
    async (request, reply) => {
      const task = server.task(request.params.id);
      return task ?? (await forgotten(reply));
    },
  );

  app.delete(
    "/api/v1/tasks/:id",
    { schema: { params: z.strictObject({ id }) } },
    async (request, reply) => {
      if (server.task(request.params.id) === undefined) return await forgotten(reply);
      const refusal = refusedByStore();
      if (refusal !== undefined) return await sendProblem(reply, refusal);
      server.cancel(request.params.id);
      await server.kept();
      return await reply.code(204).send();
    },
  );

  const read = { ...below.get, exposeHeadRoute: false }; // nobody wants an order without its answer
  app.get("/api/v1/devices/:endpoint/*", read, async ({ params, query }, reply) =>
    order(reply, params, query, (path) =>
      query.discover === undefined
        ? ["read", readRequest(path)]
        : ["discover", discoverRequest(path)],
    ),
  );

  app.put("/api/v1/devices/:endpoint/*", below.put, async ({ params, query, body }, reply) =>
    order(reply, params, query, (path) => {
      if (query.attributes !== undefined) {
        refuse(body);
        const attributes = query.attributes.split("&");
        parseAttributes(attributes, "1.2"); // what no version has is the caller's mistake
        return ["writeAttributes", writeAttributesRequest(path, attributes)];
      }
      return ["write", writeRequest(path, nodes(params.endpoint, path, body))];
    }),
  );

  app.patch("/api/v1/devices/:endpoint/*", below.patch, async ({ params, query, body }, reply) =>
    order(reply, params, query, (path) => [
      "write",
      writeRequest(path, nodes(params.endpoint, path, body), "update"),
    ]),
  );

  app.post("/api/v1/devices/:endpoint/*", below.post, async ({ params, query, body }, reply) =>
    order(reply, params, query, (path) => {
      if (query.observe !== undefined) {
        refuse(body);
        return ["observe", observeRequest(path)];
      }
      if (path.length === 3) {
        return [
          "execute",
          executeRequest(
            path,
            z.strictObject({ args: z.string().optional() }).parse(body ?? {}).args,
          ),
        ];
      }
      const given = z
        .strictObject({
          instance: z
            .number()
            .int()
            .min(0)
            .max(UNASSIGNED - 1)
            .optional(),
          values: z.record(z.string(), plain),
        })
        .parse(body);
      const target = [...path, given.instance ?? UNASSIGNED];
      return [
        "create",
        createRequest(
          path[0] ?? 0,
          nodesOf(
            target,
            given.values as Record<string, Plain>,
            server.definitionsOf(params.endpoint),
          ),
        ),
      ];
    }),
  );

  app.delete("/api/v1/devices/:endpoint/*", below.delete, async ({ params, query }, reply) =>
    order(reply, params, query, (path) =>
      query.observe === undefined
        ? ["delete", deleteRequest(path)]
        : ["cancelObserve", observeRequest(path)],
    ),
  );

  /** What the store would not take is not begun. */
  function refusedByStore(): Problem | undefined {
    const health = server.storeHealth;
    if (health.state === "working") return undefined;
    const detail = `It could not be kept, and nothing was changed: ${health.error.message}. Try again when /readyz says ready.`;
    return { status: 503, title: "Not kept", detail };
  }

  function nodes(endpoint: string, path: NodePath, body: unknown): ReturnType<typeof nodesOf> {
    const { value } = z
      .strictObject({
        value: z.union(
          [
            plain,
            z
              .record(z.string(), plain)
              .refine(hasSome, "write at least one value, by its resource id"),
          ],
          {
            error: "a string, number or boolean, or several by resource id",
          },
        ),
      })
      .parse(body);
    return nodesOf(path, value as Plain | Record<string, Plain>, server.definitionsOf(endpoint));
  }

  /** Gives the order, waits for it as long as asked, and answers with what became of it. */
  async function order(
    reply: FastifyReply,
    params: { readonly endpoint: string; readonly "*": string },
    { wait, expires }: z.infer<typeof waiting>,
    build: (path: NodePath) => [Task["operation"], Parameters<Server["order"]>[3]],
  ): Promise<unknown> {
    const { endpoint } = params;
    if (server.deviceView(endpoint) === undefined) return await unknown(reply, endpoint);
    let asked: [NodePath, ...ReturnType<typeof build>];
    try {
      const path = parseNodePath(`/${params["*"]}`);
      asked = [path, ...build(path)];
    } catch (fault) {
      if (!(fault instanceof FormatError || fault instanceof UsageError)) throw fault;
      return await sendProblem(reply, { status: 400, title: "Bad request", detail: fault.message });
    }
    const [path, kind, request] = asked;
    const options = expires === undefined ? {} : { expires: expires * 1_000 };
    const accepted = await server.order(endpoint, kind, `/${path.join("/")}`, request, options);
    if (accepted.state === "failed") {
      return await sendProblem(reply, {
        status: 503,
        title: "Not accepted",
        detail: accepted.reason ?? "",
        code: codeOfFailed(accepted),
      });
    }
    return await result(reply, await server.ended(accepted.id, wait * 1_000));
  }
}

async function result(reply: FastifyReply, task: Task): Promise<unknown> {
  const location = `/api/v1/tasks/${task.id}`;
  if (task.endedAt === undefined) {
    return await reply.code(202).header("location", location).send(task);
  }
  if (task.answer === undefined || !task.answer.success) {
    const { answer } = task;
    return await sendProblem(reply, {
      status: task.state === "expired" ? 504 : 502,
      title: answer === undefined ? `The order ${task.state}` : "The device refused",
      detail: answer?.text ?? task.reason ?? `${task.operation} ${task.path}`,
      ...(answer === undefined ? {} : { coap_code: answer.code }),
      task: location,
    });
  }
  return task;
}

async function unknown(reply: FastifyReply, endpoint: string): Promise<FastifyReply> {
  return await sendProblem(reply, {
    status: 404,
    title: "No such device",
    detail: `No device is registered as ${JSON.stringify(endpoint)}.`,
  });
}

async function forgotten(reply: FastifyReply): Promise<FastifyReply> {
  return await sendProblem(reply, {
    status: 404,
    title: "No such task",
    detail: "It never was, or it ended so long ago that it was forgotten.",
  });
}

const id = z.string().regex(/^\d{1,16}$/, "the number of a task");
const named = z.strictObject({ endpoint: z.string().min(1).max(255) });
const pathed = z.strictObject({ endpoint: z.string().min(1).max(255), "*": z.string().max(40) });
const page = z.strictObject({
  limit: numberBetween(1, 1_000).default(100),
  cursor: z.string().max(255).optional(),
  q: z.string().max(255).optional(),
});
const waiting = z.strictObject({
  /** s to wait for the device before the answer is 202. */
  wait: secondsUpTo(120).default(5),
  /** s after which the order is given up. */
  expires: numberBetween(1, 31_536_000).optional(),
});
const READS_BODY = { readsBody: true } as const;
const below = {
  get: belowDevice(waiting.extend({ discover: flag })),
  put: belowDevice(waiting.extend({ attributes: z.string().max(200).optional() }), READS_BODY),
  patch: belowDevice(waiting, READS_BODY),
  post: belowDevice(waiting.extend({ observe: flag }), READS_BODY),
  delete: belowDevice(waiting.extend({ observe: flag })),
};
const plain = z.union([z.string().max(65_536), z.number(), z.boolean()]);

function belowDevice<Q>(
  querystring: Q,
  config: { readonly readsBody?: true } = {},
): {
  readonly schema: { readonly params: typeof pathed; readonly querystring: Q };
  readonly config: { readonly readsBody?: true };
} {
  return { schema: { params: pathed, querystring }, config };
}

function hasSome(values: object): boolean {
  return Object.keys(values).length > 0;
}

function refuse(body: unknown): void {
  if (body !== undefined) throw new StrayBodyError();
}
