import { Command } from "commander";
import { backupCommand, restoreCommand } from "./backup.ts";
import { demoCommand } from "./demo.ts";
import { credentialsCommand } from "./credentials.ts";
import { deviceCommand } from "./device.ts";
import { fleetCommand } from "./fleet.ts";
import { labCommand } from "./lab.ts";
import { benchCommand } from "./bench/command.ts";
import { serveCommand } from "./serve.ts";

/** Every command with its options, as `--help` prints them. */
export function godwit(): Command {
  const program = new Command("godwit")
    .description("LwM2M device management whose sessions outlive the NAT")
    .version("0.1.0")
    .showHelpAfterError();
  program.addCommand(serveCommand());
  program.addCommand(deviceCommand());
  program.addCommand(credentialsCommand());
  program.addCommand(backupCommand());
  program.addCommand(restoreCommand());
  program.addCommand(fleetCommand());
  program.addCommand(labCommand());
  program.addCommand(demoCommand());
  program.addCommand(benchCommand());
  return program;
}

/** The `godwit` command. A fault ends it with one line that says what to do; GODWIT_DEBUG=1 adds the stack. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    await godwit().parseAsync([...argv]);
  } catch (fault) {
    const words = fault instanceof Error ? fault.message : String(fault);
    process.stderr.write(`godwit: ${words}\n`);
    if (process.env["GODWIT_DEBUG"] === "1" && fault instanceof Error) {
      process.stderr.write(`${fault.stack ?? ""}\n`);
    }
    process.exitCode = 1;
  }
}
