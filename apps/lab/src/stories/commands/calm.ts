import type { Story } from "../story.ts";
import type { Command } from "../step.ts";
import { checkAfterCalm } from "../invariants/calm.ts";
import { back } from "./device.ts";
import { freeDisk } from "./data.ts";

/** All that can be mended from outside is mended; then everything must be well within `RECOVERY`. */
export const CALM: Command = {
  name: "all is well again",
  about: "world",
  weight: 2,
  can: () => true,
  act(story) {
    heal(story);
    checkAfterCalm(story);
    return "every link, the NAT, the disk, the server and the devices are well, and time passes";
  },
};

export function heal(story: Story): void {
  const { model, world } = story;
  for (const device of model.devices) {
    story.device(device.strategy).host.link.set({ cut: false });
    device.cut = false;
  }
  story.endSilence();
  if (model.diskFull) freeDisk(story);
  if (!story.server.isOn) story.startServer();
  for (const device of model.devices) back(story, device);
  model.review(world.now);
}
