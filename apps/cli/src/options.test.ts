import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { godwit } from "./main.ts";

const LIMIT = { timeout: 300_000 };
const GODWIT = fileURLToPath(new URL("../bin/godwit.mjs", import.meta.url));
const ANY = ["--coap", "127.0.0.1:0", "--http", "127.0.0.1:0"];
const DEVICE = ["device", "--server", "coap://127.0.0.1:9", "--endpoint", "x"];
const SECURE = ["device", "--server", "coaps://127.0.0.1:9", "--endpoint", "x"];
const KEY = "000102030405060708090a0b0c0d0e0f";

type Row = {
  readonly args: readonly string[];
  readonly says: RegExp;
  readonly env?: Record<string, string>;
};

const ROWS: readonly Row[] = [
  { args: ["nothing"], says: /unknown command 'nothing'/ },
  { args: ["serve", "extra"], says: /too many arguments/ },
  { args: ["serve", "--nosuch"], says: /unknown option '--nosuch'/ },
  { args: ["serve", "--data", ""], says: /'--data <directory>'.* Write the name of a directory/ },
  { args: ["serve", "--data", "a-file", ...ANY], says: /a-file is not a directory/ },
  {
    args: ["serve", "--data", "/proc/nope", ...ANY],
    says: /cannot make the directory \/proc\/nope: .*choose another/,
  },
  { args: ["serve", ...ANY], env: { GODWIT_DATA: "" }, says: /'--data <directory>'.*GODWIT_DATA/ },
  { args: ["serve", "--mark", ""], says: /'--mark <file>'.* Write the name of a file/ },
  { args: ["serve", "--data", "taken", ...ANY, "--mark", "/proc/nope/mark"], says: /\/proc\/nope/ },
  { args: ["serve", "--on-store-failure", "x"], says: /'--on-store-failure <how>'.*exit/ },
  { args: ["serve", "--coap", "nowhere"], says: /'--coap <host:port>'.* Write HOST:PORT/ },
  { args: ["serve", "--coap", "127.0.0.1:70000"], says: /'--coap <host:port>'.* Write HOST:PORT/ },
  {
    args: ["serve", "--coap", "localhost:5683"],
    says: /'--coap <host:port>'.* Write an IP address/,
  },
  {
    args: ["serve", "--coap", "300.1.1.1:5683"],
    says: /'--coap <host:port>'.* Write an IP address/,
  },
  { args: ["serve"], env: { GODWIT_COAP: "x" }, says: /'--coap <host:port>'.*GODWIT_COAP/ },
  {
    args: ["serve", "--data", "taken", "--coap", "UDP", "--http", "127.0.0.1:0"],
    says: /cannot bind UDP .*another program has this port/,
  },
  {
    args: ["serve", "--data", "taken", "--coap", "192.0.2.1:0", "--http", "127.0.0.1:0"],
    says: /cannot bind UDP 192.0.2.1.*no such address/,
  },
  { args: ["serve", "--coaps", ":1"], says: /'--coaps \[host:port\]'.* Write HOST:PORT/ },
  {
    args: ["serve", "--data", "taken", ...ANY, "--coaps", "UDP"],
    says: /cannot bind UDP .*another program has this port/,
  },
  {
    args: ["serve", "--coaps", "--coaps-key", ""],
    says: /'--coaps-key <file>'.* Write the name of a file/,
  },
  {
    args: ["serve", "--coaps", "--coaps-key", "none"],
    says: /--coaps-key none: there is no such file/,
  },
  { args: ["serve", "--coaps", "--coaps-key", "."], says: /--coaps-key \.: it is a directory/ },
  { args: ["serve", "--coaps", "--coaps-key", "a-file"], says: /--coaps-key a-file: / },
  {
    args: ["serve", "--coaps-key", "a-file"],
    says: /--coaps-key is for CoAP over DTLS: give --coaps/,
  },
  { args: ["serve", "--coaps", "--coaps-cert", "a-file"], says: /--coaps-cert needs the key/ },
  { args: ["serve", "--coaps", "--coaps-ca", "a-file"], says: /--coaps-ca a-file: / },
  { args: ["serve", "--http", "8080"], says: /'--http <host:port>'.* Write HOST:PORT/ },
  {
    args: ["serve", "--data", "taken", "--coap", "127.0.0.1:0", "--http", "TCP"],
    says: /--http: cannot bind .*another program has this port/,
  },
  {
    args: ["serve", "--data", "taken", "--coap", "127.0.0.1:0", "--http", "192.0.2.1:0"],
    says: /--http: cannot bind .*no such address/,
  },
  { args: ["serve", "--public-url", "godwit.example"], says: /'--public-url <url>'.* Write http:/ },
  {
    args: ["serve", "--data", "taken", ...ANY, "--credentials", "none"],
    says: /--credentials none: there is no such file/,
  },
  {
    args: ["serve", "--credentials", ""],
    says: /'--credentials <file>'.* Write the name of a file/,
  },
  {
    args: ["serve", "--data", "taken", ...ANY, "--credentials", "a-file"],
    says: /--credentials a-file: it is no JSON/,
  },
  { args: ["serve", "--awake", "-1"], says: /'--awake <seconds>'.* Write seconds/ },
  {
    args: ["serve", "--keylog", "/proc/nope/x"],
    says: /--keylog: cannot write \/proc\/nope\/x: there is no such directory/,
  },
  { args: ["serve", "--log-level", "loud"], says: /'--log-level <level>'.*silent, error/ },
  {
    args: ["serve", "--data", "taken", ...ANY],
    env: { GODWIT_ADMIN_PASSWORD_FILE: "none" },
    says: /GODWIT_ADMIN_PASSWORD_FILE: cannot read .*none/,
  },
  {
    args: ["serve", "--data", "taken", ...ANY],
    env: { GODWIT_ADMIN_PASSWORD_FILE: "a-file" },
    says: /GODWIT_ADMIN_PASSWORD_FILE: a-file: .*at least 12/,
  },
  {
    args: ["serve", "--data", "taken", ...ANY],
    env: { GODWIT_MASTER_KEY_FILE: "none" },
    says: /master key none/,
  },

  { args: ["device", "--endpoint", "x"], says: /required option '--server <uri>'/ },
  {
    args: ["device", "--server", "http://x", "--endpoint", "x"],
    says: /'--server <uri>'.* Write coap:/,
  },
  {
    args: ["device", "--server", "coap://", "--endpoint", "x"],
    says: /'--server <uri>'.* Write coap:/,
  },
  {
    args: ["device", "--server", "coap://h:0", "--endpoint", "x"],
    says: /'--server <uri>'.* Write coap:/,
  },
  {
    args: ["device", "--server", "coap://h:1/path", "--endpoint", "x"],
    says: /'--server <uri>'.* Write coap:/,
  },
  {
    args: ["device", "--server", "coap://h", "--endpoint", ""],
    says: /'--endpoint <name>'.* 1 to 252 bytes/,
  },
  {
    args: ["device", "--server", "coap://h", "--endpoint", "ü".repeat(127)],
    says: /'--endpoint <name>'.* has 254/,
  },
  { args: [...DEVICE, "--lifetime", "60.5"], says: /'--lifetime <seconds>'.* Write whole seconds/ },
  { args: [...DEVICE, "--binding", "S"], says: /'--binding <letters>'.*U, UQ/ },
  { args: [...DEVICE, "--keep-alive", "1"], says: /'--keep-alive <how>'.* Write off, auto/ },
  { args: [...DEVICE, "--lwm2m", "2.0"], says: /'--lwm2m <version>'.*1\.0, 1\.1, 1\.2/ },
  {
    args: [...DEVICE, "--state", ""],
    says: /'--state <directory>'.* Write the name of a directory/,
  },
  { args: [...DEVICE, "--state", "a-file"], says: /--state a-file: .* is not a directory/ },
  {
    args: [...DEVICE, "--state", "/proc/nope"],
    says: /--state \/proc\/nope: cannot make the directory/,
  },
  { args: [...DEVICE, "--keylog", ""], says: /--keylog needs a file/ },
  { args: [...DEVICE, "--oscore", "none"], says: /--oscore none: there is no such file/ },
  { args: [...DEVICE, "--oscore", "a-file"], says: /--oscore a-file: it is no JSON/ },
  { args: [...DEVICE, "--cid"], says: /--cid is for coaps:/ },
  { args: SECURE, says: /coaps:\/\/ needs a key: give --psk-identity/ },
  { args: [...SECURE, "--psk-identity", "a"], says: /needs both --psk-identity and --psk-key/ },
  {
    args: [...SECURE, "--psk-identity", "", "--psk-key", KEY],
    says: /--psk-identity has 1 to 128 bytes/,
  },
  {
    args: [...SECURE, "--psk-identity", "a", "--psk-key", "xyz"],
    says: /--psk-key is written in hex/,
  },
  {
    args: [...SECURE, "--psk-identity", "a", "--psk-key", "00"],
    says: /--psk-key has 8 to 64 bytes/,
  },
  {
    args: [...SECURE, "--psk-identity", "a"],
    env: { GODWIT_PSK_KEY: "xyz" },
    says: /--psk-key is written in hex/,
  },
  { args: [...SECURE, "--rpk-key", "a-file"], says: /--rpk-key needs the server's public key/ },
  {
    args: [...SECURE, "--rpk-key", "none", "--server-public-key", "a-file"],
    says: /--rpk-key none: there is no such file/,
  },
  {
    args: [...SECURE, "--server-public-key", "a-file"],
    says: /--server-public-key is nothing by itself/,
  },
  { args: [...SECURE, "--cert", "a-file"], says: /give both --cert and --key/ },
  {
    args: [...SECURE, "--cert", "none", "--key", "none"],
    says: /--(cert|key) none: there is no such file/,
  },
  {
    args: [...SECURE, "--cert", "a-file", "--key", "a-file", "--ca", "none"],
    says: /--ca none: there is no such file/,
  },
  {
    args: [...SECURE, "--cert", "a-file", "--key", "a-file", "--server-cert", "none"],
    says: /--server-cert none: there is no such file/,
  },
  {
    args: [...SECURE, "--cert", "a-file", "--key", "a-file", "--certificate-usage", "4"],
    says: /'--certificate-usage <number>'/,
  },
  {
    args: [...SECURE, "--psk-identity", "a", "--psk-key", KEY, "--server-name", "x"],
    says: /--server-name does not go with --psk-identity/,
  },

  { args: ["credentials", "nothing"], says: /unknown command 'nothing'/ },
  { args: ["credentials", "list", "--http", "nonsense"], says: /'--http <url>'.* Write http:/ },
  {
    args: ["credentials", "list", "--data", "none"],
    says: /no password in none\/admin-password: there is no such file; .*--data/,
  },
  {
    args: ["credentials", "list", "--data", ""],
    says: /'--data <directory>'.* Write the name of a directory/,
  },
  {
    args: ["credentials", "list", "--data", "known", "--http", "http://127.0.0.1:9"],
    says: /127\.0\.0\.1:9 does not answer: start it/,
  },
  {
    args: ["credentials", "list", "--data", "known", "--http", "http://TCP"],
    says: /what answers at .* is no Godwit server/,
  },
  { args: ["credentials", "list", "--endpoint", ""], says: /'--endpoint <name>'/ },
  {
    args: ["credentials", "list"],
    env: { GODWIT_ADMIN_PASSWORD_FILE: "none" },
    says: /no password in none: .*GODWIT_ADMIN_PASSWORD_FILE/,
  },
  { args: ["credentials", "list"], env: { GODWIT_URL: "x" }, says: /'--http <url>'.*GODWIT_URL/ },
  { args: ["credentials", "add"], says: /give a JSON file/ },
  { args: ["credentials", "add", "none"], says: /none: there is no such file/ },
  { args: ["credentials", "add", "a-file"], says: /a-file is no JSON/ },
  {
    args: ["credentials", "add", "--endpoint", "x", "--public-key", "none"],
    says: /--public-key none: there is no such file/,
  },
  {
    args: ["credentials", "add", "--endpoint", "x", "--certificate", "a-file"],
    says: /--certificate a-file: /,
  },
  {
    args: ["credentials", "add", "--endpoint", "x", "--name", "a", "--fingerprint", "b"],
    says: /--fingerprint and --name exclude each other/,
  },
  { args: ["credentials", "remove"], says: /missing required argument 'id'/ },

  { args: ["backup"], says: /required option '--to <path>'/ },
  { args: ["backup", "--to", ""], says: /'--to <path>'.* Write the name/ },
  { args: ["backup", "--data", "none", "--to", "b"], says: /none/ },
  { args: ["backup", "--data", "", "--to", "b"], says: /'--data <directory>'/ },
  { args: ["backup", "--data", "known", "--to", "/proc/nope/b"], says: /known|\/proc\/nope/ },
  { args: ["restore"], says: /required option '--from <path>'/ },
  { args: ["restore", "--from", "none", "--data", "taken"], says: /none/ },
  { args: ["restore", "--from", "a-file", "--data", "taken"], says: /a-file/ },
  { args: ["restore", "--from", "a-file", "--data", ""], says: /'--data <directory>'/ },
  { args: ["restore", "--from", "a-file", "--master-key", ""], says: /'--master-key <file>'/ },

  { args: ["fleet", "--count", "1"], says: /required option '--server <uri>'/ },
  {
    args: ["fleet", "--server", "coaps://h", "--count", "1"],
    says: /'--server <uri>'.* Write coap:/,
  },
  { args: ["fleet", "--server", "coap://h", "--count", "0"], says: /'--count <n>'.* from 1 to/ },
  {
    args: ["fleet", "--server", "coap://h", "--count", "1", "--prefix", "x".repeat(250)],
    says: /'--prefix <text>'/,
  },
  {
    args: ["fleet", "--server", "coap://h", "--count", "1", "--lifetime", "-1"],
    says: /'--lifetime <seconds>'/,
  },
  {
    args: ["fleet", "--server", "coap://h", "--count", "1", "--binding", "X"],
    says: /'--binding <letters>'/,
  },
  {
    args: ["fleet", "--server", "coap://h", "--count", "1", "--keep-alive", "x"],
    says: /'--keep-alive <how>'/,
  },
  {
    args: ["fleet", "--server", "coap://h", "--count", "1", "--ramp", "x"],
    says: /'--ramp <seconds>'/,
  },
  {
    args: ["fleet", "--server", "coap://h", "--count", "1", "--duration", "x"],
    says: /'--duration <seconds>'/,
  },
  {
    args: ["fleet", "--server", "coap://name.invalid", "--count", "1"],
    says: /cannot find the server name\.invalid/,
  },

  { args: ["lab", "compare", "--strategy", "nope"], says: /no strategy "nope"; there is udp/ },
  { args: ["demo", "--http", "nope"], says: /'--http <host:port>'/ },
  { args: ["demo", "--http", "0.0.0.0:0"], says: /--http: a demo has no password/ },
  { args: ["demo", "--coap", "nope"], says: /'--coap <host:port>'/ },
  { args: ["demo", "--speed", "x"], says: /'--speed <factor>'/ },
  { args: ["bench", "nope"], says: /no benchmark "nope"; there are/ },
  { args: ["bench", "--seconds", "0"], says: /'--seconds <s>'/ },
  { args: ["bench", "--rounds", "x"], says: /'--rounds <n>'/ },
  { args: ["bench", "--against", "/nowhere"], says: /--against \/nowhere: there is no built/ },
  { args: ["bench", "coap", "--only", "Register"], says: /only bench flood has sorts/ },
  {
    args: ["bench", "flood", "--only", "nosuch"],
    says: /no sort of datagrams has "nosuch" in its name/,
  },
  {
    args: ["bench", "flood", "--against", "."],
    says: /--against .*there is no built|coap, oscore/,
  },
];

test("every option that takes a value has a row above with a bad one", async () => {
  const missing = optionsOf(await godwit(), []).filter(
    ({ path, option }) =>
      !ROWS.some(({ args }) => path.every((name, i) => args[i] === name) && args.includes(option)),
  );
  assert.deepEqual(
    missing
      .map(({ path, option }) => `${path.join(" ")} ${option}`)
      .filter((one) => !SHARED.test(one)),
    [],
  );
});

test(
  "a bad value of any option ends the command at once, with one line that names it",
  LIMIT,
  async () => {
    const directory = mkdtempSync(join(tmpdir(), "godwit-options-"));
    const tcp = createServer((_, answer) => answer.end("hello")).listen(0, "127.0.0.1");
    await once(tcp, "listening");
    const udp = createSocket("udp4").bind(0, "127.0.0.1");
    await once(udp, "listening");
    const ports = new Map([
      ["TCP", `127.0.0.1:${(tcp.address() as AddressInfo).port}`],
      ["UDP", `127.0.0.1:${udp.address().port}`],
      ["http://TCP", `http://127.0.0.1:${(tcp.address() as AddressInfo).port}`],
    ]);
    try {
      writeFileSync(join(directory, "a-file"), "x");
      mkdirSync(join(directory, "known"));
      writeFileSync(join(directory, "known/admin-password"), "correct horse");
      const waiting = ROWS.map((row, index) => ({ row, index }));
      const faults: string[] = [];
      const work = async (): Promise<void> => {
        for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
          const { row, index } = next;
          const args = row.args.map((one) =>
            one === "taken" ? `d${index}` : (ports.get(one) ?? one),
          );
          const { code, said, late } = await run(args, directory, row.env);
          const fits =
            row.says.test(said) && /^godwit: [^\n]+\n$/.test(said) && code === 1 && !late;
          if (!fits)
            faults.push(`${row.args.join(" ")}: ${late ? "late, " : ""}exit ${code}: ${said}`);
        }
      };
      await Promise.all([work(), work(), work(), work()]);
      assert.deepEqual(faults, []);
    } finally {
      tcp.close();
      udp.close();
      rmSync(directory, { recursive: true, force: true });
    }
  },
);

for (const [what, args] of [
  ["serve", ["serve", "--nosec", ...ANY]],
  ["device", DEVICE],
  ["demo", ["demo", ...ANY]],
] as const) {
  test(`SIGTERM and SIGHUP end godwit ${what} at every moment of its start`, LIMIT, async () => {
    const directory = mkdtempSync(join(tmpdir(), "godwit-signals-"));
    try {
      for (const after of [0, 150, 250, 350, 450, 600]) {
        const signal = after % 100 === 0 ? "SIGHUP" : "SIGTERM";
        const { code, late, said } = await run(args, directory, {}, { after, signal });
        assert.ok(!late, `not ended: ${said}`);
        assert.ok(code === 0 || code === null, `exit ${code}: ${said}`); // null: before it listened for signals
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
}

type Ended = { readonly code: number | null; readonly said: string; readonly late: boolean };

async function run(
  args: readonly string[],
  cwd: string,
  env: Record<string, string> = {},
  end?: { readonly after: number; readonly signal: NodeJS.Signals },
): Promise<Ended> {
  const child = spawn(process.execPath, [GODWIT, ...args], {
    cwd,
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  let late = false;
  const timers = [
    setTimeout(
      () => {
        late = true;
        child.kill("SIGKILL");
      },
      15_000 + (end?.after ?? 0),
    ),
    ...(end === undefined ? [] : [setTimeout(() => child.kill(end.signal), end.after)]),
  ];
  const [code] = (await once(child, "close")) as [number | null];
  for (const timer of timers) clearTimeout(timer);
  return { code, said, late };
}

function optionsOf(
  command: Command,
  path: readonly string[],
): readonly { readonly path: readonly string[]; readonly option: string }[] {
  const own = command.options
    .filter(({ required, optional }) => required || optional)
    .map(({ long }) => ({ path, option: long ?? "" }));
  return [...own, ...command.commands.flatMap((one) => optionsOf(one, [...path, one.name()]))];
}

/** Options of each `credentials` command are the same; `list` stands for them. */
const SHARED = /^credentials (?:add|remove|server-key) --(?:http|data)$/;
