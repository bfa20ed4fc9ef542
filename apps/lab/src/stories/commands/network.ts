import { inWords, pick, type Command } from "../step.ts";

/** What happens to the NAT and to the links. */
export const NETWORK_COMMANDS: readonly Command[] = [
  {
    name: "NAT moved",
    about: "world",
    weight: 2,
    can: () => true,
    act(story) {
      story.nat.renumber();
      story.model.disturbed(story.world.now);
      return "the NAT has another public address";
    },
  },
  {
    name: "NAT rebooted",
    about: "world",
    weight: 2,
    can: () => true,
    act(story, { a }) {
      const down = pick([0, 30_000, 300_000], a);
      story.nat.reboot(down);
      story.model.disturbed(story.world.now + down);
      return `the NAT reboots and is down for ${inWords(down)}`;
    },
  },
  {
    name: "NAT silent",
    about: "world",
    weight: 2,
    can: (model) => !model.natSilent,
    act(story, { a }) {
      const silence = pick([30_000, 180_000, 1_200_000, 7_200_000], a);
      const end = story.beginSilence();
      story.world.after(silence, end);
      return `the NAT lets nothing in for ${inWords(silence)}`;
    },
  },
  {
    name: "link cut",
    about: "device",
    weight: 8,
    can: (model, { device }) => !model.at(device).cut,
    act(story, { device }) {
      const model = story.model.at(device);
      story.device(model.strategy).host.link.set({ cut: true });
      model.cut = true;
      story.model.review(story.world.now);
      return `the link of ${model.strategy} is cut`;
    },
  },
  {
    name: "link healed",
    about: "device",
    weight: 40,
    can: (model, { device }) => model.at(device).cut,
    act(story, { device }) {
      const model = story.model.at(device);
      story.device(model.strategy).host.link.set({ cut: false });
      model.cut = false;
      story.model.review(story.world.now);
      return `the link of ${model.strategy} is whole again`;
    },
  },
];
