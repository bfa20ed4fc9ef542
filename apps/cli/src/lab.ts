import { compare, comparisonTable, strategyNames } from "@godwit/lab";
import { Command } from "commander";

export function labCommand(): Command {
  const lab = new Command("lab").description("what each strategy costs, in a simulated network");
  lab
    .command("compare")
    .description("the strategies side by side, message by message, against the published figures")
    .option("--json", "figures as JSON on standard output", false)
    .option("--strategy <name...>", `only these: ${strategyNames().join(", ")}`)
    .action(({ json, strategy }: { json: boolean; strategy?: string[] }) => {
      const rows = compare(strategy, progress);
      if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
      process.stdout.write(`${json ? JSON.stringify({ rows }) : comparisonTable(rows)}\n`);
    });
  return lab;
}

function progress(name: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[Kplaying ${name} …`);
}
