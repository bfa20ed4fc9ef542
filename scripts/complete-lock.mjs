// Adds to package-lock.json the platform packages that `npm install` left out because the registry at hand does not
// offer them: without their entries `npm ci` calls the lock file out of sync. Run it after `npm install`.
import { readFileSync, writeFileSync } from "node:fs";

const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
const added = [];

for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const nested = `${path}/node_modules/${name}`;
    const place = `node_modules/${name}`;
    if (nested in lock.packages || place in lock.packages) continue;
    const platform = platformOf(name);
    if (platform === undefined) continue;
    lock.packages[place] = {
      version,
      ...(entry.dev ? { dev: true } : {}),
      optional: true,
      ...platform,
    };
    added.push(`${name}@${version}`);
  }
}

lock.packages = Object.fromEntries(
  Object.entries(lock.packages).toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)),
);
writeFileSync("package-lock.json", `${JSON.stringify(lock, undefined, 2)}\n`);
process.stdout.write(`${added.length} platform packages added\n`);

/** "@scope/binding-linux-x64-musl" says for which machines it is. */
function platformOf(name) {
  const match =
    /(?:^|[/-])(android|darwin|freebsd|linux|openharmony|win32)-(arm64|arm|x64|ia32|ppc64|riscv64|s390x)(?:-(\w+))?$/.exec(
      name,
    );
  if (match === null) return undefined;
  const [, os, cpu, abi] = match;
  const libc = abi?.startsWith("musl") ? "musl" : abi?.startsWith("gnu") ? "glibc" : undefined;
  return {
    os: [os],
    cpu: [cpu],
    ...(os === "linux" && libc !== undefined ? { libc: [libc] } : {}),
  };
}
