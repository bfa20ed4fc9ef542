import { credentialId } from "@godwit/lwm2m";
import type { ModelDevice } from "../model.ts";
import { inWords, pick, type Command } from "../step.ts";
import type { Story } from "../story.ts";
import { credentialOf, isOpen, type KeyVersion } from "../strategies.ts";

/** What the operator does with credentials. A device that proves nothing is shut out by one. */
export const CREDENTIAL_COMMANDS: readonly Command[] = [
  {
    name: "credential added",
    about: "device",
    weight: 6,
    can: (model) => model.serverOn,
    act(story, { device }) {
      const model = story.model.at(device);
      add(story, model, model.keyVersion, () => {});
      return `the operator adds the credential that ${model.strategy} has`;
    },
  },
  {
    name: "credential replaced",
    about: "device",
    weight: 6,
    can: (model, { device }) => model.serverOn && model.at(device).on,
    act(story, { device, a }) {
      const model = story.model.at(device);
      const version = ++story.model.lastKey;
      const after = pick([1_000, 600_000, undefined], a);
      add(story, model, version, () => {
        if (after !== undefined && !isOpen(model.strategy))
          story.world.after(after, () => provision(story, model, version));
      });
      const then =
        after === undefined
          ? "the device never hears of it"
          : `and the device's after ${inWords(after)}`;
      return `the operator replaces the credential of ${model.strategy}, ${then}`;
    },
  },
  {
    name: "credential revoked",
    about: "device",
    weight: 12,
    can: (model, { device }) => model.serverOn && model.at(device).serverKey !== undefined,
    act(story, { device }) {
      const model = story.model.at(device);
      const id = credentialId(credentialOf(model.strategy, 1));
      story.server.removeCredential(id, (ok) => {
        if (ok) {
          model.serverKey = undefined;
          model.wants.clear(); // what was asked of the endpoint is forgotten with its last credential
        }
        story.model.review(story.world.now);
      });
      return `the operator revokes the credential of ${model.strategy}`;
    },
  },
];

function add(story: Story, model: ModelDevice, version: KeyVersion, then: () => void): void {
  story.server.addCredential(credentialOf(model.strategy, version), (ok) => {
    if (!ok) return;
    if (model.serverKey !== version) model.revived = undefined;
    model.serverKey = version;
    story.model.disturbed(story.world.now, [model]);
    story.model.review(story.world.now);
    then();
  });
}

/** The device is started anew with its new key; what it keeps of its sessions stays. */
function provision(story: Story, model: ModelDevice, version: KeyVersion): void {
  if (model.keyVersion === version || model.serverKey !== version) return;
  const device = story.device(model.strategy);
  device.keyVersion = version;
  model.keyVersion = version;
  if (model.on) {
    device.stop();
    device.start();
  }
  story.model.disturbed(story.world.now, [model]);
  story.model.review(story.world.now);
}
