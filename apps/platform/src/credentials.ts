import { UsageError, hex, toBase64, toHex } from "@godwit/base";
import { leafOf, readCertificates, readPublicKey } from "@godwit/dtls";
import type { Credential } from "@godwit/lwm2m";
import type { Server, ShownCertificate } from "@godwit/server";
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
        title: "No such credential",
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
    { schema: { params: z.object({ id: z.string().max(1_024) }) } },
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
/** SHA-256 as tools print it: "SHA256:" or "sha256 Fingerprint=" before it, colons in it, or neither. */
const fingerprint = z
  .string()
  .transform((text) => text.replace(/^sha-?256(?: fingerprint)?[:=]/i, "").replace(/[:\s]/g, ""))
  .refine(
    (digits) => /^[0-9a-f]{64}$/i.test(digits),
    "write the SHA-256 of the certificate as 64 hex digits, as `openssl x509 -noout -fingerprint -sha256 -in FILE` prints it",
  );
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
      fingerprint: fingerprint.optional(),
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
      return {
        kind: "rpk",
        endpoint: body.endpoint,
        spki: readPublicKey(body.publicKey, "publicKey"),
      };
    case "x509":
      return certificateCredential(body);
  }
}

function certificateCredential({
  endpoint: name,
  ...how
}: Extract<Body, { kind: "x509" }>): Credential {
  const kind = "x509";
  if (how.fingerprint !== undefined) {
    return { kind, endpoint: name, fingerprint: hex(how.fingerprint) };
  }
  if (how.certificate === undefined) return { kind, endpoint: name, name: how.name ?? name };
  const leaf = leafOf(readCertificates(how.certificate, "certificate"));
  readPublicKey(leaf.publicKey, "certificate"); // of a kind that can prove itself here
  return { kind, endpoint: name, fingerprint: hex(leaf.fingerprint) };
}

type Body = z.infer<typeof credentialBody>;

const named = z.object({ endpoint: z.string().optional() });
