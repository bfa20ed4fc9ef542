// How often each command ran in the stories of each strategy.
import { COMMANDS } from "../../apps/lab/dist/stories/commands/index.js";
import { STRATEGIES } from "../../apps/lab/dist/stories/strategies.js";

export class Counts {
  /** By strategy and command. A step that is about no device counts for all strategies of its story. */
  #ran = new Map(STRATEGIES.map((strategy) => [strategy, new Map()]));

  add({ strategies, steps }) {
    for (const { command, strategy } of steps)
      for (const one of strategy === undefined ? strategies : [strategy]) {
        const ran = this.#ran.get(one);
        ran.set(command, (ran.get(command) ?? 0) + 1);
      }
  }

  /** Rows for people; the last one has the rarest command of each strategy. */
  table() {
    const played = STRATEGIES.filter((strategy) => this.#steps(strategy) > 0);
    const rows = [
      ["steps", ...played],
      ...COMMANDS.map(({ name }) => [
        name,
        ...played.map(
          (strategy) =>
            `${this.#ran.get(strategy).get(name) ?? 0}  ${percent(this.#share(strategy, name))}`,
        ),
      ]),
      ["all", ...played.map((strategy) => `${this.#steps(strategy)}        `)],
    ];
    const widths = rows[0].map((_, at) => Math.max(...rows.map((row) => row[at].length)));
    return rows
      .map((row) =>
        row
          .map((cell, at) => (at === 0 ? cell.padEnd(widths[at]) : cell.padStart(widths[at])))
          .join("  "),
      )
      .join("\n");
  }

  /** Commands that ran in less than `least` of the steps of a strategy. */
  rare(least) {
    return STRATEGIES.filter((strategy) => this.#steps(strategy) > 0).flatMap((strategy) =>
      COMMANDS.filter(({ name }) => this.#share(strategy, name) < least).map(
        ({ name }) =>
          `"${name}" ran in ${percent(this.#share(strategy, name)).trim()} of the steps of ${strategy}`,
      ),
    );
  }

  #steps(strategy) {
    return [...this.#ran.get(strategy).values()].reduce((sum, n) => sum + n, 0);
  }

  #share(strategy, name) {
    return (this.#ran.get(strategy).get(name) ?? 0) / this.#steps(strategy);
  }
}

function percent(share) {
  return `${(share * 100).toFixed(1)} %`.padStart(6);
}
