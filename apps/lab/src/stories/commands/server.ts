import type { ServerTuning } from "@godwit/lwm2m";
import type { Story } from "../story.ts";
import { OUTAGES, inWords, pick, type Command, type StepChoice } from "../step.ts";
import { credentialOf } from "../strategies.ts";

/** What happens to the server's process. */
export const SERVER_COMMANDS: readonly Command[] = [
  {
    name: "server killed",
    about: "world",
    weight: 3,
    can: (model) => model.serverOn,
    act(story, { a, b }) {
      const outage = pick(OUTAGES, b);
      const kept = pick([0, 1, 2], a);
      story.killServer(kept);
      restartLater(story, outage);
      return `the server is killed, ${kept} writes under way reach the disk, back after ${inWords(outage)}`;
    },
  },
  {
    name: "server stopped",
    about: "world",
    weight: 2,
    can: (model) => model.serverOn,
    act(story, { b }) {
      const outage = pick(OUTAGES, b);
      story.stopServer();
      restartLater(story, outage);
      return `the server is stopped, started again after ${inWords(outage)}`;
    },
  },
  {
    name: "NoSec switched",
    about: "world",
    weight: 2,
    can: (model) => model.serverOn,
    act(story, choice) {
      const nosec = !story.server.settings.nosec;
      restart(story, choice);
      story.server.settings = { ...story.server.settings, nosec };
      story.model.nosec = nosec;
      story.startServer();
      return `the server is started anew, ${nosec ? "with" : "without"} --nosec`;
    },
  },
  {
    name: "credentials file changed",
    about: "world",
    weight: 2,
    can: (model) => model.serverOn,
    act(story, choice) {
      const file = pick(FILES, choice.a);
      restart(story, choice);
      story.server.settings = { ...story.server.settings, file: file.of(story) };
      story.startServer();
      return `the server is started anew with ${file.words} as credentials file`;
    },
  },
  {
    name: "tuning changed",
    about: "world",
    weight: 2,
    can: (model) => model.serverOn,
    act(story, choice) {
      const tuning = pick(TUNINGS, choice.a);
      restart(story, choice);
      story.server.settings = { ...story.server.settings, tuning };
      story.startServer();
      return `the server is started anew with ${JSON.stringify(tuning)}`;
    },
  },
];

/** Its process ends, by kill -9 or cleanly. */
export function restart(story: Story, { b }: StepChoice): void {
  if (b % 2 === 0) story.stopServer();
  else story.killServer(0);
}

function restartLater(story: Story, outage: number): void {
  story.world.after(outage, () => {
    if (!story.server.isOn) story.startServer();
  });
}

/** `oscore` has a fixed context: its secret is refused once it was in use. */
const FILES = [
  { words: "nothing", of: () => [] },
  {
    words: "the credentials of now",
    of: ({ model }: Story) =>
      model.devices.flatMap(({ strategy, serverKey }) =>
        typeof serverKey === "number" && strategy !== "oscore"
          ? [credentialOf(strategy, serverKey)]
          : [],
      ),
  },
  {
    words: "those the devices have",
    of: ({ model }: Story) =>
      model.devices.flatMap(({ strategy, keyVersion, serverKey }) =>
        serverKey === undefined || strategy === "oscore"
          ? []
          : [credentialOf(strategy, keyVersion)],
      ),
  },
];
const TUNINGS: readonly Partial<ServerTuning>[] = [
  {},
  { awakeWindow: 30_000 },
  { trustedBinding: 60_000 },
  { restartGrace: 60_000 },
];
