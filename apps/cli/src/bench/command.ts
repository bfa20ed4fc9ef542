import { Command, InvalidArgumentError, Option } from "commander";
import { COMPARED, benchAgainst, formatRatios } from "./against.ts";
import { benchCoap } from "./coap.ts";
import { benchOscore } from "./oscore.ts";
import { benchDtls } from "./dtls/dtls.ts";
import { benchFlood } from "./flood/flood.ts";
import { formatReport, type Report } from "./report.ts";

/** How long and how much to measure. */
export type BenchOptions = {
  /** s of each measurement. */
  readonly seconds: number;
  readonly rounds: number;
  /** Small numbers of everything: shows that it runs, not how fast. */
  readonly short: boolean;
  /** Of `flood`: sorts of datagrams whose names have this in them; all unless given. */
  readonly only?: string;
  /** Says what is being done. */
  readonly progress: (text: string) => void;
};

export function benchCommand(): Command {
  return new Command("bench")
    .description(
      "measure throughput per second of processor time, beside other servers in the same run",
    )
    .argument("[name]", `which benchmark: ${[...BENCHMARKS.keys()].join(", ")}; all unless given`)
    .option("--json", 'print JSON instead of tables: { "reports": [...] }', false)
    .option("--seconds <s>", "length of each measurement", number(0.05, 600), 2)
    .option("--rounds <n>", "how often each measurement is repeated", number(1, 100), 5)
    .addOption(
      new Option("--short", "seconds instead of minutes, to see that it runs").default(false),
    )
    .option("--only <text>", "of flood: the sorts of datagrams whose names have this in them")
    .option(
      "--against <directory>",
      "measures another checkout, built, beside this one, and prints the ratio of each row",
    )
    .action(async (name: string | undefined, options: Options) => {
      const progress = (text: string): void => {
        if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
      };
      if (options.only !== undefined && name !== "flood")
        throw new Error(
          "--only: only bench flood has sorts of datagrams: godwit bench flood --only",
        );
      if (options.against !== undefined) {
        const names = name === undefined ? COMPARED : [name];
        const ratios = [];
        for (const one of names)
          ratios.push(...(await benchAgainst(one, options.against, { ...options, progress })));
        progress("");
        const told = options.json ? JSON.stringify({ ratios }) : formatRatios(ratios);
        process.stdout.write(`${told}\n`);
        return;
      }
      const reports: Report[] = [];
      for (const run of chosen(name)) reports.push(await run({ ...options, progress }));
      progress("");
      const text = options.json
        ? JSON.stringify({ reports }, undefined, 1)
        : reports.map(formatReport).join("\n\n");
      process.stdout.write(`${text}\n`);
    });
}

type Options = Omit<BenchOptions, "progress"> & {
  readonly json: boolean;
  readonly against?: string;
};

const BENCHMARKS: ReadonlyMap<string, (options: BenchOptions) => Promise<Report>> = new Map([
  ["coap", benchCoap],
  ["oscore", benchOscore],
  ["dtls", benchDtls],
  ["flood", benchFlood],
]);

function chosen(name: string | undefined): readonly ((options: BenchOptions) => Promise<Report>)[] {
  if (name === undefined) return [...BENCHMARKS.values()];
  const run = BENCHMARKS.get(name);
  if (run === undefined) {
    throw new Error(`no benchmark "${name}"; there are: ${[...BENCHMARKS.keys()].join(", ")}`);
  }
  return [run];
}

function number(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !(value >= least && value <= most)) {
      throw new InvalidArgumentError(`Write a number from ${least} to ${most}.`);
    }
    return value;
  };
}
