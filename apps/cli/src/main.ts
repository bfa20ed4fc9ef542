import { CommanderError, Command } from "commander";
import { StoppedEarly } from "./stop.ts";

/** Every command with its options, as `--help` prints them; or `only` one, so that not all of Godwit is loaded for it. */
export async function godwit(only?: string): Promise<Command> {
  const program = new Command("godwit")
    .description("LwM2M device management whose sessions outlive the NAT")
    .version("0.1.0");
  const one = COMMANDS.get(only ?? "");
  for (const load of one === undefined ? COMMANDS.values() : [one])
    program.addCommand(await load());
  throwFaults(program, "godwit");
  return program;
}

/**
 * The `godwit` command. A fault ends it at once with one line that says what to do, and exit code 1, whatever the process
 * has open. GODWIT_DEBUG=1 adds the stack.
 */
export async function main(argv: readonly string[]): Promise<void> {
  process.stdout.on("error", endWithReader);
  try {
    await (await godwit(argv[2])).parseAsync([...argv]);
  } catch (fault) {
    if (fault instanceof CommanderError) process.exit(fault.exitCode); // help, or the version
    if (fault instanceof StoppedEarly) process.exit(0);
    const words = fault instanceof Error ? fault.message : String(fault);
    process.stderr.write(`godwit: ${words.trim().replaceAll(/\s*\n\s*/g, "; ")}\n`);
    if (process.env["GODWIT_DEBUG"] === "1" && fault instanceof Error) {
      process.stderr.write(`${fault.stack ?? ""}\n`);
    }
    process.exit(1);
  }
}

const COMMANDS: ReadonlyMap<string, () => Promise<Command>> = new Map([
  ["serve", async () => (await import("./serve.ts")).serveCommand()],
  ["device", async () => (await import("./device.ts")).deviceCommand()],
  ["credentials", async () => (await import("./credentials.ts")).credentialsCommand()],
  ["backup", async () => (await import("./backup.ts")).backupCommand()],
  ["restore", async () => (await import("./backup.ts")).restoreCommand()],
  ["fleet", async () => (await import("./fleet.ts")).fleetCommand()],
  ["lab", async () => (await import("./lab.ts")).labCommand()],
  ["demo", async () => (await import("./demo.ts")).demoCommand()],
  ["bench", async () => (await import("./bench/command.ts")).benchCommand()],
]);

/** Whoever read our words is gone, as `head` is after its lines. */
function endWithReader(fault: NodeJS.ErrnoException): void {
  if (fault.code === "EPIPE") process.exit(0);
  throw fault;
}

/** What commander finds wrong comes out as a fault like any other, in one line. */
function throwFaults(command: Command, name: string): void {
  command.configureOutput({ outputError: () => undefined });
  command.exitOverride((fault) => {
    if (SHOWN.has(fault.code)) throw fault;
    const words = fault.message.replace(/^error: /, "").replace(/\.$/, "");
    throw new Error(`${words}. See ${name} --help`);
  });
  for (const one of command.commands) throwFaults(one, `${name} ${one.name()}`);
}

/** Not faults: what was asked for has been printed. */
const SHOWN: ReadonlySet<string> = new Set([
  "commander.help",
  "commander.helpDisplayed",
  "commander.version",
]);
