// Which stories there are, as fast-check draws and shortens them.
import * as fc from "fast-check";
import { COMMANDS } from "../../apps/lab/dist/stories/commands/index.js";
import { Step } from "../../apps/lab/dist/stories/run-step.js";
import { WAITS } from "../../apps/lab/dist/stories/step.js";
import { STRATEGIES } from "../../apps/lab/dist/stories/strategies.js";

/** Devices in a story. */
const CAST = 3;
/** So many are drawn for each step that is played: some have nothing to do when their turn comes. */
const SPARE = 6;
/** Commands that are frequent in one story. */
const THEME = 3;
const FREQUENT = 4;

/** Sequences that are long enough from the start; shorter ones come from shrinking alone. */
class LongSequences extends fc.Arbitrary {
  #inner;
  #least;

  constructor(inner, least) {
    super();
    this.#inner = inner;
    this.#least = least;
  }

  generate(mrng) {
    for (;;) {
      const value = this.#inner.generate(mrng, undefined);
      if ([...value.value_].length >= this.#least) return value;
    }
  }

  canShrinkWithoutContext() {
    return false;
  }

  shrink(value, context) {
    return this.#inner.shrink(value, context);
  }
}

const choice = fc.record({
  device: fc.nat(CAST - 1),
  a: fc.nat(31),
  b: fc.nat(11),
  wait: fc.nat(WAITS.length - 1),
});

/** Of each sequence the model plays the first `steps` that can be done. Some commands are frequent in the story of a seed, in turn. */
export function sequences(steps, seed) {
  const themes = Math.ceil(COMMANDS.length / THEME);
  const drawn = COMMANDS.flatMap((command, at) => {
    const step = choice.map((chosen) => new Step(command, chosen));
    const isFrequent = at % themes === seed % themes;
    return Array.from({ length: command.weight * (isFrequent ? FREQUENT : 1) }, () => step);
  });
  const least = steps * SPARE;
  const commands = fc.commands(drawn, { maxCommands: least + 20, size: "max" });
  return new LongSequences(commands, least);
}

/** The strategies of the story of a seed: `only` this one, or some of all, each combination in its turn. */
export function cast(only, seed) {
  if (only !== undefined) return fc.constant([only]);
  const [first, ...others] = STRATEGIES;
  const half = combinations(others, CAST - 1).map((rest) => [first, ...rest]);
  // Each after half of them is followed by those who are not in it: every theme meets every strategy.
  const all = [...half, ...half.map((some) => STRATEGIES.filter((one) => !some.includes(one)))];
  return fc.constant(all[seed % all.length]);
}

function combinations(list, n) {
  if (n === 0) return [[]];
  return list.flatMap((one, at) =>
    combinations(list.slice(at + 1), n - 1).map((rest) => [one, ...rest]),
  );
}
