import { CommanderError, Command } from "commander";
import { benchCommand } from "./bench/command.ts";
import { credentialsCommand } from "./credentials.ts";
import { demoCommand } from "./demo.ts";
import { deviceCommand } from "./device.ts";
import { fleetCommand } from "./fleet.ts";
import { labCommand } from "./lab.ts";
import { serveCommand } from "./serve.ts";
import { StoppedEarly } from "./stop.ts";

/** Every command with its options, as `--help` prints them. */
export function godwit(): Command {
  const program = new Command("godwit")
    .description("LwM2M device management whose sessions outlive the NAT")
    .version("0.1.0");
  program.addCommand(serveCommand());
  program.addCommand(deviceCommand());
  program.addCommand(credentialsCommand());
  program.addCommand(fleetCommand());
  program.addCommand(labCommand());
  program.addCommand(demoCommand());
  program.addCommand(benchCommand());
  throwFaults(program, "godwit");
  return program;
}

/**
 * The `godwit` command. A fault ends it at once with one line that says what to do, and exit code 1, whatever the process
 * has open. GODWIT_DEBUG=1 adds the stack.
 */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    await godwit().parseAsync([...argv]);
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
