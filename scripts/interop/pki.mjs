// Keys and certificates for the cases, made with openssl: a root, a CA below it, a server, a device, and another root.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
export const DEVICE_NAME = "urn:dev:ops:32473-interop-6";

let made;

/**
 * Paths by name: `root.pem`, `server.pem`, `server.key` (PKCS#8), `server.pub`, `device.…`, `stranger.…` (under no root of
 * these), and `NAME-chain.pem`, the certificate with its issuer behind it. The same for all cases of a run.
 */
export function pki() {
  return (made ??= make());
}

async function make() {
  const folder = await mkdtemp(join(tmpdir(), "godwit-pki-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const at = (name) => join(folder, name);
  const openssl = (...args) => run("openssl", args, { cwd: folder });
  const names = ["root", "inter", "server", "device", "stranger"];
  for (const name of names) {
    const curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    await openssl("genpkey", ...curve, "-out", `${name}.key`);
    await openssl("pkey", "-in", `${name}.key`, "-pubout", "-out", `${name}.pub`);
  }
  const selfSigned = (name, subject, ...more) => {
    const days = ["-days", "30", ...more.flatMap((one) => ["-addext", one])];
    return openssl(
      "req",
      "-x509",
      "-new",
      "-key",
      `${name}.key`,
      "-subj",
      subject,
      ...days,
      "-out",
      `${name}.pem`,
    );
  };
  await selfSigned("root", "/CN=Interop Root", "keyUsage=critical,keyCertSign");
  await selfSigned("stranger", `/CN=${DEVICE_NAME}`);
  const issue = async (name, subject, issuer, ...extensions) => {
    await writeFile(at(`${name}.ext`), extensions.join("\n"));
    await openssl("req", "-new", "-key", `${name}.key`, "-subj", subject, "-out", `${name}.csr`);
    const by = ["-CA", `${issuer}.pem`, "-CAkey", `${issuer}.key`, "-CAcreateserial"];
    const more = ["-days", "30", "-extfile", `${name}.ext`];
    await openssl("x509", "-req", "-in", `${name}.csr`, ...by, ...more, "-out", `${name}.pem`);
  };
  const ca = ["basicConstraints=critical,CA:TRUE,pathlen:0", "keyUsage=critical,keyCertSign"];
  await issue("inter", "/CN=Interop CA", "root", ...ca);
  // For clients, too: Leshan's server takes no other certificate for its own.
  const signs = "keyUsage=critical,digitalSignature";
  const alt = "subjectAltName=DNS:localhost,IP:127.0.0.1";
  await issue(
    "server",
    "/CN=localhost",
    "inter",
    alt,
    signs,
    "extendedKeyUsage=serverAuth,clientAuth",
  );
  await issue("device", `/CN=${DEVICE_NAME}`, "inter", signs, "extendedKeyUsage=clientAuth");
  for (const name of ["server", "device"]) {
    const parts = [`${name}.pem`, "inter.pem"].map((part) => readFile(at(part), "utf8"));
    await writeFile(at(`${name}-chain.pem`), (await Promise.all(parts)).join(""));
    const raw = [`${name}.pub`, `${name}.key`].map((part) => readFile(at(part), "utf8"));
    await writeFile(at(`${name}-raw.pem`), (await Promise.all(raw)).join("")); // as libcoap wants it
  }
  const both = ["root.pem", "inter.pem"].map((part) => readFile(at(part), "utf8"));
  await writeFile(at("roots.pem"), (await Promise.all(both)).join(""));
  return at;
}

/** DER of a file in the PKI, for peers that take it in hex. */
export async function hexOf(at, kind, name) {
  const what = {
    key: ["pkcs8", "-topk8", "-nocrypt", "-in", at(`${name}.key`)],
    pub: ["pkey", "-pubin", "-in", at(`${name}.pub`)],
    pem: ["x509", "-in", at(`${name}.pem`)],
  }[kind];
  const options = { encoding: "buffer" };
  const { stdout } = await run("openssl", [...what, "-outform", "der"], options);
  return stdout.toString("hex");
}
