import { PATHS } from "../device.ts";
import { inWords, pick, type Command } from "../step.ts";

/** What users want of devices, and what devices measure. */
export const USER_COMMANDS: readonly Command[] = [
  {
    name: "observe",
    about: "device",
    weight: 8,
    can: (model) => model.serverOn,
    act(story, { device, a, b }) {
      const model = story.model.at(device);
      const [path, expires] = [pick(PATHS, a), pick(EXPIRIES, b)];
      story.operations.observe(model, path, expires);
      return `a user observes ${path} of ${model.strategy}, ${inWords(expires)} at most`;
    },
  },
  {
    name: "observation cancelled",
    about: "device",
    weight: 7,
    can: (model) => model.serverOn,
    act(story, { device, a, b }) {
      const model = story.model.at(device);
      const isObserved = model.wants.size > 0;
      const path = pick(isObserved ? [...model.wants] : PATHS, a);
      const expires = pick(EXPIRIES, b);
      if (!isObserved) story.operations.observe(model, path, expires);
      story.operations.cancelObserve(model, path, expires);
      const first = isObserved ? "" : "observes and at once ";
      return `a user ${first}ends the observation of ${path} of ${model.strategy}, ${inWords(expires)} at most`;
    },
  },
  {
    name: "operation",
    about: "device",
    weight: 6,
    can: (model) => model.serverOn,
    act(story, { device, a, b }) {
      const model = story.model.at(device);
      const [kind, expires] = [pick(["read", "execute", "write"] as const, a), pick(EXPIRIES, b)];
      const { word, path } = story.operations[kind](model, expires);
      return `a user orders ${kind} ${path} (${word}) of ${model.strategy}, ${inWords(expires)} at most`;
    },
  },
  {
    name: "operation cancelled",
    about: "device",
    weight: 5,
    can: (model) => model.serverOn,
    act(story, { device, a }) {
      const model = story.model.at(device);
      const id =
        model.open.size > 0
          ? pick([...model.open], a)
          : story.operations.execute(model, pick(EXPIRIES, 0)).id;
      story.server.feed({ type: "cancelOperation", id });
      return `a user cancels the operation ${story.operations.byId(id)?.word} of ${model.strategy}`;
    },
  },
  {
    name: "lifetime changed",
    about: "device",
    weight: 5,
    can: (model, { device }) => model.at(device).on,
    act(story, { device, a }) {
      const { strategy } = story.model.at(device);
      const lifetime = pick(LIFETIMES, a);
      story.device(strategy).lifetime = lifetime;
      story.device(strategy).feed({ type: "configure", values: { 1: lifetime } });
      return `${strategy} has a lifetime of ${lifetime} s`;
    },
  },
  {
    name: "reading changed",
    about: "device",
    weight: 5,
    can: (model, { device }) => model.at(device).on,
    act(story, { device }) {
      return `${story.model.at(device).strategy} measures ${story.change()}, and so do all`;
    },
  },
];

/** How long a user waits for an operation, in ms. */
const EXPIRIES: readonly number[] = [600_000, 60_000, 7_200_000];
/** s; none is longer than what an observation may take to come back. */
const LIFETIMES: readonly number[] = [3_600, 60, 300, 900];
