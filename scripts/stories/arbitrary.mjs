// Which stories there are, as fast-check draws and shortens them.
import * as fc from "fast-check";
import { COMMANDS } from "../../apps/lab/dist/stories/commands/index.js";
import { Step } from "../../apps/lab/dist/stories/run-step.js";
import { WAITS } from "../../apps/lab/dist/stories/step.js";
import { STRATEGIES } from "../../apps/lab/dist/stories/strategies.js";

/** Devices in a story. */
const CAST = 3;
/** So many are drawn for each step that is played: some have nothing to do when their turn comes. */
const SPARE = 4;

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

/** Of each sequence the model plays the first `steps` that can be done. */
export function sequences(steps) {
  const drawn = COMMANDS.flatMap((command) => {
    const step = choice.map((chosen) => new Step(command, chosen));
    return Array.from({ length: command.weight }, () => step);
  });
  const least = steps * SPARE;
  const commands = fc.commands(drawn, { maxCommands: least + 20, size: "max" });
  return new LongSequences(commands, least);
}

/** The strategies of a story: `only` those, or some of all. */
export function cast(only) {
  return only === undefined
    ? fc.shuffledSubarray([...STRATEGIES], { minLength: CAST, maxLength: CAST })
    : fc.constant([only]);
}
