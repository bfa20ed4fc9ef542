import type { ModelDevice } from "../model.ts";
import { OUTAGES, inWords, pick, type Command, type StepChoice } from "../step.ts";
import type { Story } from "../story.ts";
import { observedIn, type DeviceState } from "../device.ts";
import { isOscore } from "../strategies.ts";

/** What happens to a device. */
export const DEVICE_COMMANDS: readonly Command[] = [
  {
    name: "device killed",
    about: "device",
    weight: 5,
    can: (model, { device }) => model.at(device).on,
    act(story, choice) {
      const model = story.model.at(choice.device);
      const kept = pick([0, 1, 2], choice.a);
      story.device(model.strategy).kill(kept);
      const outage = backLater(story, model, choice, undefined);
      return `${model.strategy} loses its power, ${kept} writes under way reach its disk, back after ${inWords(outage)}`;
    },
  },
  {
    name: "device rebooted",
    about: "device",
    weight: 5,
    can: (model, { device }) => model.at(device).on,
    act(story, choice) {
      const model = story.model.at(choice.device);
      story.device(model.strategy).stop();
      const outage = backLater(story, model, choice, undefined);
      return `${model.strategy} reboots with its state, back after ${inWords(outage)}`;
    },
  },
  {
    name: "device reset",
    about: "device",
    weight: 4,
    can: (model, { device }) => model.at(device).on,
    act(story, choice) {
      const model = story.model.at(choice.device);
      story.device(model.strategy).kill(0);
      forgets(story, model);
      // No state at all is the oldest there is; a fixed context begins its numbers anew then.
      if (isOscore(model.strategy)) story.rule(model.strategy).putBack();
      const outage = backLater(story, model, choice, EMPTY);
      return `${model.strategy} reboots without its state, back after ${inWords(outage)}`;
    },
  },
  {
    name: "device put back",
    about: "device",
    weight: 5,
    can: (model, { device }) => model.at(device).on,
    act(story, choice) {
      const model = story.model.at(choice.device);
      const states = story.history.get(model.strategy) ?? [EMPTY];
      const age = 1 + (choice.a % states.length);
      story.device(model.strategy).kill(0);
      forgets(story, model);
      story.rule(model.strategy).putBack();
      const state = states.at(-age);
      const known = observedIn(state?.snapshot);
      for (const path of model.wants) if (!known.has(path)) model.unknown.add(path);
      const outage = backLater(story, model, choice, state);
      return `${model.strategy} reboots with its state of ${age} steps before, back after ${inWords(outage)}`;
    },
  },
];

function backLater(
  story: Story,
  model: ModelDevice,
  { b }: StepChoice,
  state: DeviceState | undefined,
): number {
  const outage = pick(OUTAGES, b);
  model.on = false;
  story.model.review(story.world.now);
  const off = { state };
  story.off.set(model.strategy, off);
  story.world.after(outage, () => {
    if (story.off.get(model.strategy) === off) back(story, model);
  });
  return outage;
}

/** Power on, with the state that the device was to have. */
export function back(story: Story, model: ModelDevice): void {
  if (model.on) return;
  const device = story.device(model.strategy);
  device.start(story.off.get(model.strategy)?.state);
  story.off.delete(model.strategy);
  model.on = device.isOn;
  story.model.review(story.world.now);
}

/** What it obeyed lately it may not know any more. */
function forgets(story: Story, { strategy }: ModelDevice): void {
  for (const operation of story.operations.all)
    if (operation.strategy === strategy) operation.mayRepeat = true;
}

const EMPTY: DeviceState = { tables: new Map(), snapshot: undefined };
