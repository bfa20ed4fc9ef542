import { UsageError } from "@godwit/base";
import { Command, Option } from "commander";
import { countUpTo, deviceServer, keepAlive, namePrefix, seconds, span } from "./arguments.ts";
import { Fleet, type FleetFigures } from "./fleet/fleet.ts";
import { socketsFault } from "./fleet/open-files.ts";
import { untilStopped } from "./stop.ts";

type Options = {
  readonly server: string;
  readonly count: number;
  readonly prefix: string;
  readonly lifetime: number;
  readonly binding: "U" | "UQ";
  readonly keepAlive: "off" | "auto" | number;
  readonly ramp?: number;
  readonly duration?: number;
  readonly json: boolean;
};

export function fleetCommand(): Command {
  return new Command("fleet")
    .description("run many devices with thermometers in one process, each on a port of its own")
    .requiredOption("--server <uri>", "coap://HOST:PORT", deviceServer("coap"))
    .requiredOption("--count <n>", "how many devices", countUpTo(MOST))
    .option("--prefix <text>", "endpoint names are this and a number", namePrefix, "fleet-")
    .option("--lifetime <seconds>", "lifetime of the registrations", seconds, 300)
    .addOption(
      new Option("--binding <letters>", "U: always listening; UQ: sleep between their messages")
        .choices(["U", "UQ"])
        .default("U"),
    )
    .option("--keep-alive <how>", "off, auto, or seconds (15 or more)", keepAlive, "off")
    .option("--ramp <seconds>", "start over so long; 500 devices a second unless given", span)
    .option("--duration <seconds>", "leave after so long; else at SIGINT or SIGTERM", span)
    .option("--json", "print the figures as JSON at the end", false)
    .action(run);
}

async function run(options: Options): Promise<void> {
  const { server, count, prefix, lifetime, keepAlive: kept, json } = options;
  const fault = socketsFault(count);
  if (fault !== undefined) throw new UsageError(fault);
  const fleet = new Fleet({
    server,
    count,
    prefix,
    lifetime,
    keepAlive: kept,
    queueMode: options.binding === "UQ",
    ramp: options.ramp === undefined ? count * 2 : options.ramp * 1_000,
  });
  const progress = showProgress(() => oneLine(fleet.figures(), count));
  const { asked } = untilStopped(FAREWELL);
  const over = options.duration === undefined ? asked : either(asked, options.duration * 1_000);
  const starting = fleet.start();
  try {
    await Promise.race([over, starting]); // a server that cannot be found ends it here
    await over;
    progress.note("leaving");
  } catch (fault) {
    progress.end(); // the fault is all there is to say
    throw fault;
  } finally {
    await fleet.stop();
    await starting.catch(() => undefined); // was thrown above, or came of being stopped
  }
  progress.show();
  progress.end();
  const figures = fleet.figures();
  process.stdout.write(json ? `${JSON.stringify(figures)}\n` : summary(figures));
}

function either(stopped: Promise<unknown>, ms: number): Promise<unknown> {
  return Promise.race([stopped, new Promise((resolve) => setTimeout(resolve, ms).unref())]);
}

/** One line that is written over on a terminal; elsewhere a line whenever it has changed, not too often. */
function showProgress(line: () => string): {
  note(text: string): void;
  show(): void;
  end(): void;
} {
  const { stderr } = process;
  let shown = "";
  const show = (): void => {
    const text = line();
    if (stderr.isTTY) stderr.write(`\r\u001B[K${text}`);
    else if (text !== shown) stderr.write(`${text}\n`);
    shown = text;
  };
  const timer = setInterval(show, stderr.isTTY ? 500 : 5_000);
  return {
    note(text) {
      stderr.write(stderr.isTTY ? `\r\u001B[K${text}\n` : `${text}\n`);
    },
    show,
    end() {
      clearInterval(timer);
      if (stderr.isTTY) stderr.write("\n");
    },
  };
}

function oneLine(figures: FleetFigures, count: number): string {
  const { registered, refused, unanswered, updates, operations, bytes } = figures;
  const bad = refused + unanswered > 0 ? `, ${refused} refused, ${unanswered} unanswered` : "";
  return `${registered} of ${count} registered${bad}, ${updates} updates, ${operations} operations, ${bytes.total} bytes`;
}

function summary(figures: FleetFigures): string {
  const refusals = Object.entries(figures.refusals).map(([code, n]) => `${n} x ${code}`);
  return [
    `devices        ${figures.devices}`,
    `registrations  ${figures.registrations}`,
    `refused        ${figures.refused}${refusals.length > 0 ? ` (${refusals.join(", ")})` : ""}`,
    `unanswered     ${figures.unanswered}`,
    `updates        ${figures.updates}`,
    `operations     ${figures.operations}`,
    `bytes          ${figures.bytes.out} out, ${figures.bytes.in} in`,
    "",
  ].join("\n");
}

/** ms that a fleet may take to de-register. */
const FAREWELL = 120_000;
/** Ports of one address, less those below 1024. */
const MOST = 64_512;
