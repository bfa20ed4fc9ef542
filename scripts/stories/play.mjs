// One seed: draws a story, plays it, and shortens it if it breaks a rule.
import * as fc from "fast-check";
import { Model } from "../../apps/lab/dist/stories/model.js";
import { NonceAudit } from "../../apps/lab/dist/stories/nonce-audit.js";
import { Story } from "../../apps/lab/dist/stories/story.js";
import { cast, sequences } from "./arbitrary.mjs";

/** Plays the story of a seed; `shrinkFor` ms are spent at most on making it shorter. */
export function play({ seed, start, steps, only, shrinkFor, tolerate }) {
  const began = performance.now();
  let first;
  let last;
  let played = 0;
  let until = Infinity;
  const property = fc.property(cast(only, seed), sequences(steps, seed), (strategies, commands) => {
    if (performance.now() > until) return;
    played += 1;
    const story = perform({ strategies, commands, seed, start, steps, tolerate });
    first ??= story;
    if (until === Infinity) until = performance.now() + shrinkFor;
    // Another rule that a shorter story breaks is another fault.
    if (story.violation?.invariant !== first.violation?.invariant) return;
    if (story.violation === undefined) return;
    last = story;
    throw story.violation;
  });
  const found = fc.check(property, { seed, numRuns: 1 });
  if (first === undefined) throw found.errorInstance;
  return {
    seed,
    ms: performance.now() - began,
    strategies: first.strategies,
    steps: first.steps,
    lines: first.lines,
    ...(found.failed && {
      failure: {
        first: String(first.violation?.message),
        message: last.violation.message,
        invariant: last.violation.invariant,
        strategies: last.strategies,
        lines: last.lines,
        played,
      },
    }),
  };
}

function perform({ strategies, commands, seed, start, steps: limit, tolerate }) {
  const tolerated = tolerate === undefined ? undefined : new RegExp(tolerate);
  const audit = new NonceAudit();
  let told;
  audit.during(() => {
    const model = new Model(strategies, start, limit);
    const story = new Story(model, { seed, start, tolerated }, audit);
    try {
      fc.modelRun(() => ({ model, real: story }), commands);
    } catch (fault) {
      if (story.violation === undefined) story.broken("story", String(fault?.stack));
    }
    const { violation, steps, lines } = story;
    told = { violation, steps, lines, strategies };
  });
  return told;
}
