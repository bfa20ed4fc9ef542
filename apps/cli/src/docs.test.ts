// What the README and the guides say is tried here, as it stands there:
//   ```ts run          is compiled and ends by itself
//   ```ts run server   is compiled and registers at the server on 127.0.0.1:5683, which is replaced by one of ours
//   ```sh api          is run by bash against a server with the device weather-7; AUTH and GODWIT are set
//   ```sh run          is run by bash; npx godwit is this command

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { after, before, suite, test } from "node:test";
import { Device } from "@godwit/client";
import type { Row } from "@godwit/lab";
import { createPlatform, type Platform } from "@godwit/platform";
import { Server } from "@godwit/server";
import type { Command } from "commander";
import { godwit } from "./main.ts";

const ROOT = join(import.meta.dirname, "../../..");
const GODWIT = join(ROOT, "apps/cli/bin/godwit.mjs");
const PASSWORD = "a password of the tests";
const PAGES = [
  "README.md",
  ...readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

type Block = {
  /** "docs/device.md:12" */
  readonly place: string;
  readonly tag: string;
  readonly text: string;
};

const blocks = PAGES.flatMap((page) => blocksOf(page, readFileSync(join(ROOT, page), "utf8")));
const examples = blocks.filter(({ tag }) => tag === "ts run" || tag === "ts run server");

suite("the documentation", () => {
  const work = mkdtempSync(join(tmpdir(), "godwit-docs-"));
  const compiled = join(ROOT, "apps/cli/dist/docs-examples");
  const server = new Server({ coap: "127.0.0.1:0", nosec: true });
  let device: Device;
  let platform: Platform;
  let url: string;

  before(async () => {
    await server.start();
    platform = await createPlatform({ server, auth: { kind: "password", password: PASSWORD } });
    url = await platform.listen("127.0.0.1", 0);
    device = new Device({ endpoint: "weather-7", server: `coap://${server.addresses[0]}` });
    device.add(3303, { 5700: 21.5, 5701: "Cel", 5605: () => undefined });
    const registered = new Promise<void>((done) => device.on("registered", () => done()));
    await device.start();
    await registered;
    await compile(examples, compiled, `${server.addresses[0]}`);
  });
  after(async () => {
    await device.stop();
    await platform.close();
    await server.close();
    rmSync(work, { recursive: true });
    rmSync(compiled, { recursive: true });
  });

  for (const [number, { place, tag }] of examples.entries()) {
    test(`${place}: the example compiles and does what it says`, async () => {
      const file = join(compiled, `js/${number}.js`);
      if (tag === "ts run") return void (await run(process.execPath, [file], work));
      await untilRegistered(server, file, work);
    });
  }

  for (const { place, text } of blocks.filter(({ tag }) => tag === "sh run")) {
    test(`${place}: the commands run`, async () => {
      const npx = `npx() { [ "$1" = godwit ] && shift && "${process.execPath}" "${GODWIT}" "$@"; }`;
      const printed = await run("bash", ["-e", "-c", `${npx}\n${text}`], work);
      if (!text.includes("lab compare --json")) return;
      // What the README says of a message's cost is what was measured just now.
      const { rows } = JSON.parse(printed) as { readonly rows: readonly Row[] };
      const table =
        /<!-- lab compare -->\n([^]*?)\n<!-- end -->/.exec(page("README.md"))?.[1] ?? "";
      assert.deepEqual(
        table.split("\n").slice(2),
        rows.map(
          ({ strategy, step, settings, bytes, published }) =>
            `| ${[strategy, step, settings, bytes, published ?? "-"].join(" | ")} |`,
        ),
      );
    });
  }

  test("the requests with curl are answered, in the order of each page", async () => {
    for (const { place, text } of blocks.filter(({ tag }) => tag === "sh api")) {
      const AUTH = `Authorization: Bearer ${PASSWORD}`;
      const env = { ...process.env, AUTH, GODWIT: `${url}/api/v1`, NO_PROXY: "*" };
      await run("bash", ["-e", "-o", "pipefail", "-c", text], work, env).catch((fault) => {
        throw new Error(`${place}: ${String(fault)}`);
      });
    }
  });

  test("docs/api.md has every route, and no other", () => {
    const written = [...page("docs/api.md").matchAll(/^### `(\w+ \S+)`/gm)].map(([, name]) => name);
    assert.deepEqual(new Set(written), new Set(platform.routes));
    assert.equal(written.length, platform.routes.length);
  });

  test("the states of tasks and devices are explained", () => {
    for (const state of ["waiting", "sent", "done", "failed", "expired", "cancelled"]) {
      assert.match(page("docs/api.md"), new RegExp(`\`${state}\``));
    }
    for (const state of ["reachable", "uncertain", "asleep", "unreachable"]) {
      assert.match(page("docs/operator.md"), new RegExp(`\`${state}\``));
    }
  });

  test("docs/operator.md has every option and variable of godwit serve", async () => {
    const text = page("docs/operator.md");
    const [serve] = commandsIn(await godwit()).filter(({ path }) => path === "serve");
    for (const { long, envVar } of serve!.command.options) {
      assert.ok(long === undefined || text.includes(long), long);
      assert.ok(envVar === undefined || text.includes(envVar), envVar);
    }
  });

  test("every godwit command line that is written down names a command and options that exist", async () => {
    const lines = blocks.flatMap(({ place, text }) =>
      [...text.matchAll(/^(?:\S+=\S+ )*npx godwit (.+?)(?: *#.*)?$/gm)].map(([, words]) => ({
        place,
        words: words!.split(" "), // it matched
      })),
    );
    assert.ok(lines.length > 5);
    const known = commandsIn(await godwit());
    for (const { place, words } of lines) {
      const found = known.findLast(({ path }) => `${words.join(" ")} `.startsWith(`${path} `));
      assert.ok(found, `${place}: godwit ${words.join(" ")}`);
      const options = [...found.command.options.map(({ long }) => long), "--help"];
      for (const word of words.filter((one) => one.startsWith("--"))) {
        assert.ok(options.includes(word), `${place}: godwit ${found.path} has no ${word}`);
      }
    }
  });

  test("every test that docs/attacks.md names exists", () => {
    const rows = [...page("docs/attacks.md").matchAll(/^\| (.+) \| `(\S+\.test\.ts)` \|$/gm)];
    assert.ok(rows.length > 20);
    for (const [, title, file] of rows) assert.ok(page(file!).includes(`"${title}"`), title); // both groups
  });

  test("every link to a file of ours leads to one", () => {
    for (const from of [
      ...PAGES,
      "ARCHITECTURE.md",
      "CONTRIBUTING.md",
      "CHANGELOG.md",
      "SECURITY.md",
    ]) {
      for (const [, target] of page(from).matchAll(/\]\((?!https?:)([^)#\s]+)/g)) {
        const path = join(ROOT, dirname(from), target!); // it matched
        const there = readdirSync(dirname(path)).includes(path.split("/").at(-1)!);
        assert.ok(there, `${from}: ${relative(ROOT, path)}`);
      }
    }
  });
});

function page(name: string): string {
  return readFileSync(join(ROOT, name), "utf8");
}

function blocksOf(name: string, text: string): readonly Block[] {
  return [...text.matchAll(/^```([^\n]+)\n([^]*?)^```$/gm)].map((match) => ({
    place: `${name}:${text.slice(0, match.index).split("\n").length}`,
    tag: match[1]!, // both groups
    text: match[2]!,
  }));
}

/** All examples in one run of the compiler, as strict as our own code. */
async function compile(all: readonly Block[], out: string, server: string): Promise<void> {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(join(out, "src"), { recursive: true });
  writeFileSync(join(out, "package.json"), '{ "type": "module" }');
  for (const [number, { place, text }] of all.entries()) {
    const source = `// ${place}\n${text.replaceAll("127.0.0.1:5683", server)}\nexport {};\n`;
    writeFileSync(join(out, `src/${number}.ts`), source);
  }
  const compilerOptions = {
    ...{ rootDir: "src", outDir: "js", composite: false },
    ...{ declaration: false, declarationMap: false, isolatedDeclarations: false },
  };
  const config = {
    extends: relative(out, join(ROOT, "tsconfig.base.json")),
    compilerOptions,
    include: ["src"],
  };
  writeFileSync(join(out, "tsconfig.json"), JSON.stringify(config));
  const bin = dirname(createRequire(import.meta.url).resolve("typescript/package.json"));
  await run(process.execPath, [join(bin, "bin/tsc"), "-p", out], out);
}

/** What it printed; rejects with that unless it ended well. */
function run(
  file: string,
  args: readonly string[],
  cwd: string,
  env = process.env,
): Promise<string> {
  return new Promise((done, failed) => {
    execFile(file, args, { cwd, env, timeout: 60_000 }, (fault, stdout, stderr) => {
      if (fault === null) done(stdout);
      else failed(new Error(`${fault.message}\n${stdout}\n${stderr}`));
    });
  });
}

/** The example runs until its device is registered. */
async function untilRegistered(server: Server, file: string, cwd: string): Promise<void> {
  const child = spawn(process.execPath, [file], { cwd, stdio: ["ignore", "ignore", "inherit"] });
  const ended = once(child, "exit");
  let stop = (): void => undefined;
  const registered = new Promise<string>((done) => {
    stop = server.on("registered", () => done("registered"));
  });
  const first = await Promise.race([registered, ended.then(() => "ended")]);
  stop();
  child.kill("SIGKILL");
  await ended;
  assert.equal(first, "registered");
}

function commandsIn(
  command: Command,
  path = "",
): readonly { readonly path: string; readonly command: Command }[] {
  return command.commands.flatMap((sub) => {
    const name = `${path}${sub.name()}`;
    return [{ path: name, command: sub }, ...commandsIn(sub, `${name} `)];
  });
}
