// Which stories there are, as fast-check draws and shortens them.
import * as fc from "fast-check";
import { COMMANDS } from "../../apps/lab/dist/stories/commands/index.js";
import { Step } from "../../apps/lab/dist/stories/run-step.js";
import { WAITS } from "../../apps/lab/dist/stories/step.js";
import { STRATEGIES } from "../../apps/lab/dist/stories/strategies.js";

/** Devices in a story. */
const CAST = 3;
/** Nearly half of the steps that are drawn may have nothing to do. */
const SPARE = 2.1;

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

/** `steps` can be done at least of nearly every sequence; some commands have nothing to do at times. */
export function sequences(steps) {
  const drawn = COMMANDS.flatMap((command) => {
    const step = choice.map((chosen) => new Step(command, chosen));
    return Array.from({ length: command.weight }, () => step);
  });
  const least = Math.ceil(steps * SPARE);
  const commands = fc.commands(drawn, { maxCommands: least + 20, size: "max" });
  return new LongSequences(commands, least);
}

/** The strategies of a story: `only` those, or some of all. */
export function cast(only) {
  return only === undefined
    ? fc.shuffledSubarray([...STRATEGIES], { minLength: CAST, maxLength: CAST })
    : fc.constant([only]);
}
