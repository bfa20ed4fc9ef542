import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "@godwit/io";

/**
 * The administrator's password: from GODWIT_ADMIN_PASSWORD_FILE if set, else from `admin-password` in the data
 * directory, where the first start puts a random one (mode 0600).
 */
export async function adminPassword(
  directory: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<{ readonly password: string; readonly file: string; readonly created: boolean }> {
  const given = env["GODWIT_ADMIN_PASSWORD_FILE"];
  const file = given ?? join(directory, "admin-password");
  const named = given === undefined ? "" : "GODWIT_ADMIN_PASSWORD_FILE: ";
  let text: string | undefined;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code !== "ENOENT" || given !== undefined) {
      throw new Error(`${named}cannot read the password in ${JSON.stringify(file)}: ${message}`, {
        cause,
      });
    }
  }
  if (text !== undefined) {
    const password = text.trim();
    if (password.length < SHORTEST) {
      throw new Error(`${named}${file}: the password needs at least ${SHORTEST} characters`);
    }
    return { password, file, created: false };
  }
  const password = randomBytes(18).toString("base64url");
  await writeFileAtomic(file, new TextEncoder().encode(`${password}\n`));
  return { password, file, created: true };
}

const SHORTEST = 12;
