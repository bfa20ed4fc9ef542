import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, Option } from "commander";
import { directoryName, endpointName, webAddress } from "./arguments.ts";
import { credentialBody, type CredentialWords } from "./credential-words.ts";
import { systemWords } from "./system-words.ts";

/**
 * Credentials of a running server, over its REST API: the server alone writes its store. The administrator's password is
 * read from the data directory, or from GODWIT_ADMIN_PASSWORD_FILE.
 */
export function credentialsCommand(): Command {
  const command = new Command("credentials").description(
    "add, list and remove the credentials of a running server's devices",
  );
  const server = (): Option[] => [
    new Option("--http <url>", "where the server's REST API is")
      .default("http://127.0.0.1:8080")
      .env("GODWIT_URL")
      .argParser(webAddress),
    new Option("--data <directory>", "the server's data directory, for its password")
      .default("./godwit-data")
      .env("GODWIT_DATA")
      .argParser(directoryName),
  ];
  const withServer = (sub: Command): Command => {
    for (const option of server()) sub.addOption(option);
    return sub;
  };

  withServer(command.command("list"))
    .description("what there is, without the secrets")
    .option("--endpoint <name>", "of one endpoint only", endpointName)
    .option("--json", "as JSON", false)
    .action(async (options: Where & { endpoint?: string; json: boolean }) => {
      const query =
        options.endpoint === undefined ? "" : `?endpoint=${encodeURIComponent(options.endpoint)}`;
      const { items } = (await call(options, "GET", `/api/v1/credentials${query}`)) as {
        items: readonly { id: string; endpoint: string; unreadable?: true }[];
      };
      if (options.json) process.stdout.write(`${JSON.stringify({ items }, undefined, 2)}\n`);
      else if (items.length === 0) process.stdout.write("No credentials.\n");
      else
        for (const { endpoint, id, unreadable } of items) {
          const note = unreadable === true ? "  cannot be read: add it again, or remove it" : "";
          process.stdout.write(`${endpoint}  ${id}${note}\n`);
        }
    });

  withServer(command.command("add"))
    .description(
      "adds or replaces one, from a JSON file (- for standard input); bytes are hex, public keys and certificates PEM, base64 or hex",
    )
    .argument(
      "[file]",
      'such as {"kind":"psk","endpoint":"dev","identity":"dev01","key":"0001…"}, {"kind":"rpk","endpoint":"dev","publicKey":"-----BEGIN…"}, {"kind":"x509","endpoint":"dev"}',
    )
    .option(
      "--endpoint <name>",
      "instead of a file: the endpoint, and one of the next four",
      endpointName,
    )
    .option("--public-key <file>", "its raw public key, PEM, base64 or hex")
    .option("--certificate <file>", "its certificate, whoever issued it")
    .option("--fingerprint <hex>", "the SHA-256 of its certificate")
    .option("--name <name>", "a name in its certificate, under a root of `serve --coaps-ca`")
    .action(async (file: string | undefined, options: Where & CredentialWords) => {
      const body = credentialBody(file, options);
      const view = (await call(options, "POST", "/api/v1/credentials", body)) as {
        id: string;
        endpoint: string;
      };
      process.stdout.write(`added ${view.id} for ${view.endpoint}, at ${options.http}\n`);
      if (!view.id.startsWith("oscore:") && !(await speaksDtls(options)))
        process.stderr.write(
          "godwit: this server speaks no DTLS, and nobody can come in by it yet: start it with --coaps\n",
        );
    });

  withServer(command.command("remove"))
    .description("revokes one: whoever uses it is cut off")
    .argument("<id>", "as `list` shows it")
    .action(async (id: string, options: Where) => {
      await call(options, "DELETE", `/api/v1/credentials/${encodeURIComponent(id)}`);
      process.stdout.write(`removed ${id}, at ${options.http}\n`);
    });

  withServer(command.command("server-key"))
    .description("prints the server's public key in PEM, by which devices know it")
    .option("--certificate", "its certificate and the issuers behind it instead", false)
    .option("--hex", "the public key in hex, as resource /0/x/4 of a device has it", false)
    .action(async (options: Where & { certificate: boolean; hex: boolean }) => {
      const { pem, publicKey, certificates } = (await call(
        options,
        "GET",
        "/api/v1/server-key",
      )) as { pem: string; publicKey: string; certificates: readonly string[] };
      if (options.certificate && certificates.length === 0)
        throw new Error(
          "the server shows no certificate, only its public key: it was started with --coaps-key and without --coaps-cert",
        );
      if (options.certificate) process.stdout.write(certificates.join(""));
      else process.stdout.write(options.hex ? `${publicKey}\n` : pem);
    });
  return command;
}

async function speaksDtls(where: Where): Promise<boolean> {
  const [status, text] = await ask(where, "/readyz", {});
  if (status !== 200) return true; // it has other sorrows
  const { coaps } = JSON.parse(text) as { coaps?: readonly string[] };
  return coaps === undefined || coaps.length > 0;
}

type Where = { readonly http: string; readonly data: string };

async function call(where: Where, method: string, path: string, body?: unknown): Promise<unknown> {
  const password = passwordOf(where);
  const [status, text] = await ask(where, path, {
    method,
    headers: {
      authorization: `Bearer ${password}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  let json: unknown;
  try {
    json = text === "" ? undefined : JSON.parse(text);
  } catch (cause) {
    throw new Error(`--http: what answers at ${where.http} is no Godwit server`, { cause });
  }
  if (status < 400) return json;
  const { title, detail } = (json ?? {}) as { title?: string; detail?: string };
  throw new Error(`${title ?? `the server answered ${status}`}: ${detail ?? ""}`);
}

async function ask(
  { http }: Where,
  path: string,
  request: RequestInit,
): Promise<[status: number, text: string]> {
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const answer = await fetch(new URL(path, http), { ...request, signal });
    return [answer.status, await answer.text()];
  } catch (cause) {
    const late = cause instanceof Error && cause.name === "TimeoutError";
    const what = late ? `did not answer within ${PATIENCE / 1_000} s` : "does not answer";
    throw new Error(
      `the server at ${http} ${what}: start it with godwit serve, or name another with --http`,
      { cause },
    );
  }
}

function passwordOf({ data }: Where): string {
  const named = process.env["GODWIT_ADMIN_PASSWORD_FILE"];
  const file = named ?? join(data, "admin-password");
  try {
    return readFileSync(file, "utf8").trim();
  } catch (cause) {
    const advice =
      named === undefined
        ? "name the server's data directory with --data"
        : "GODWIT_ADMIN_PASSWORD_FILE names it";
    throw new Error(`no password in ${file}: ${systemWords(cause)}; ${advice}`, { cause });
  }
}

/** ms for an answer. */
const PATIENCE = 30_000;
