import { UsageError, hex, toBase64, toHex } from "@godwit/base";
import { leafOf } from "@godwit/dtls";
import type { Credential } from "@godwit/lwm2m";
import { rpkCredential, x509Credential, type Server, type ShownCertificate } from "@godwit/server";
import type { FastifyInstance } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { sendProblem } from "./problem.ts";

/** Credentials go in and out of use here; a secret goes in and never out. */
export function credentialRoutes(root: FastifyInstance, server: Server): void {
  const app = root.withTypeProvider<ZodTypeProvider>();

  app.get("/api/v1/credentials", { schema: { querystring: named } }, async ({ query }) => ({
    items: server.credentials(query.endpoint),
  }));

  app.post("/api/v1/credentials", { schema: { body: credentialBody } }, async (request, reply) => {
    try {
      const view = await server.addCredential(credentialOf(request.body));
      return await reply.code(201).send(view);
    } catch (fault) {
      if (!(fault instanceof UsageError)) throw fault;
      return await sendProblem(reply, {
        status: 400,
        title: "Invalid credential",
        detail: fault.message,
      });
    }
  });

  app.get("/api/v1/server-key", async (_request, reply) => {
    const [shown] = server.certificates;
    if (shown !== undefined) return keyView(shown);
    const detail = "The server has no key to show: it speaks no DTLS (`godwit serve --coaps`).";
    return await sendProblem(reply, { status: 404, title: "No server key", detail });
  });

  app.delete(
    "/api/v1/credentials/:id",
    { schema: { params: z.strictObject({ id: z.string().max(1_024) }) } },
    async (request, reply) => {
      const { id } = request.params;
      if (!server.credentials().some((one) => one.id === id)) {
        const detail = `There is no credential ${JSON.stringify(id)}.`;
        return await sendProblem(reply, { status: 404, title: "No such credential", detail });
      }
      await server.removeCredential(id);
      return await reply.code(204).send();
    },
  );
}

/** What devices know the server by; nothing in it is secret. */
function keyView({ publicKey, chain }: ShownCertificate): {
  readonly publicKey: string;
  readonly pem: string;
  readonly certificates: readonly string[];
  readonly fingerprint?: string;
} {
  return {
    publicKey: toHex(publicKey),
    pem: pemOf("PUBLIC KEY", publicKey),
    certificates: chain.map((one) => pemOf("CERTIFICATE", one)),
    ...(chain.length === 0 ? {} : { fingerprint: leafOf(chain).fingerprint }),
  };
}

function pemOf(label: string, der: Uint8Array): string {
  const lines = toBase64(der).match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}

/** A credential out of JSON as the REST API takes it. Throws UsageError that says what is wrong. */
export function parseCredential(json: unknown): Credential {
  const parsed = credentialBody.safeParse(json);
  if (!parsed.success) throw new UsageError(z.prettifyError(parsed.error));
  return credentialOf(parsed.data);
}

/** A credential as it is written in JSON: bytes are hex. */
const hexBytes = z.string().regex(/^(?:[0-9a-fA-F]{2})*$/, "write bytes as hex, two digits each");
const endpoint = z.string().min(1).max(255);
/** PEM, base64 or hex. */
const material = z.string().max(20_000);
const credentialBody = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("psk"), endpoint, identity: z.string(), key: hexBytes }),
  z.strictObject({
    kind: z.literal("oscore"),
    endpoint,
    senderId: hexBytes,
    recipientId: hexBytes,
    masterSecret: hexBytes,
    masterSalt: hexBytes.optional(),
    idContext: hexBytes.optional(),
    aead: z.number().int().optional(),
    hkdf: z.enum(["sha256", "sha384", "sha512"]).optional(),
    derivation: z.enum(["fixed", "negotiated", "both"]).default("both"),
  }),
  z.strictObject({ kind: z.literal("rpk"), endpoint, publicKey: material }),
  z
    .strictObject({
      kind: z.literal("x509"),
      endpoint,
      name: z.string().optional(),
      certificate: material.optional(),
      fingerprint: z.string().max(1_000).optional(),
    })
    .refine(
      ({ name, certificate, fingerprint: digits }) =>
        [name, certificate, digits].filter((one) => one !== undefined).length <= 1,
      "give one of name, certificate and fingerprint, or none: then the name is that of the endpoint",
    ),
]);

function credentialOf(body: Body): Credential {
  switch (body.kind) {
    case "psk":
      return { ...body, key: hex(body.key) };
    case "oscore":
      return {
        kind: "oscore",
        endpoint: body.endpoint,
        senderId: hex(body.senderId),
        recipientId: hex(body.recipientId),
        masterSecret: hex(body.masterSecret),
        masterSalt: body.masterSalt === undefined ? undefined : hex(body.masterSalt),
        idContext: body.idContext === undefined ? undefined : hex(body.idContext),
        aead: body.aead,
        hkdf: body.hkdf,
        derivation: body.derivation,
      };
    case "rpk":
      return rpkCredential(body.endpoint, body.publicKey);
    case "x509":
      return certificateCredential(body);
  }
}

function certificateCredential(body: Extract<Body, { kind: "x509" }>): Credential {
  const { certificate, fingerprint, name } = body;
  if (certificate !== undefined) return x509Credential(body.endpoint, { certificate });
  if (fingerprint !== undefined) return x509Credential(body.endpoint, { fingerprint });
  return x509Credential(body.endpoint, name === undefined ? {} : { name });
}

type Body = z.infer<typeof credentialBody>;

const named = z.strictObject({ endpoint: z.string().max(255).optional() });
