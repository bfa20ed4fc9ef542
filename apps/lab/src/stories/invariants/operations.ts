import { isFinal } from "@godwit/lwm2m";
import type { Story } from "../story.ts";
import { ENDED, RESTART_GRACE } from "./bounds.ts";

/** Each operation ends once, within its bound, and is obeyed once at most. */
export function operationsEndOnce(story: Story): string | undefined {
  const { server, world, model } = story;
  if (!model.diskFull && server.host.now > story.fullUntil + ENDED) story.operations.written();
  for (const operation of story.operations.all) {
    const { id, word, kind, strategy, ends, accepted, excused, expiresAt } = operation;
    const name = `${kind} ${word} of ${strategy}`;
    if (excused) continue;
    if (ends.length > 1) return `${name} ended ${ends.join(" and ")}`;
    if (!accepted || !server.isOn) continue;
    const state = server.stack.server.operation(id)?.state;
    if (ends.length === 0 && state === undefined) return `${name} was accepted, and is lost`;
    if (ends.length > 0 && state !== undefined && !isFinal(state))
      return `${name} ended ${ends.join()}, and is ${state.name} again`;
    const due = Math.max(expiresAt, story.startedAt + RESTART_GRACE) + ENDED;
    const late = server.host.now > due && world.now > story.upSince + ENDED;
    if (ends.length === 0 && late && !model.diskFull && state !== undefined && !isFinal(state))
      return `${name} is ${state.name} after its time is over`;
  }
  return obeyedOnce(story);
}

function obeyedOnce(story: Story): string | undefined {
  for (const [strategy, { obeyed }] of story.devices) {
    const seen = new Set<string>();
    for (const word of obeyed) {
      const operation = story.operations.all.find((one) => one.word === word);
      if (seen.has(word) && operation?.mayRepeat !== true)
        return `${strategy} obeyed ${word} twice`;
      seen.add(word);
    }
  }
  return undefined;
}
