import type { ModelDevice } from "../model.ts";
import type { Story } from "../story.ts";
import { RECOVERY } from "./bounds.ts";

/** Each observation is live on both ends, or known to be not; live again a while after the network is back. */
export function observationsAreLive(story: Story): string | undefined {
  const { model, server, world } = story;
  if (!server.isOn) return undefined;
  for (const device of model.devices) {
    if (device.excused) continue;
    const known = server.stack.server.observationsOf(device.strategy, Math.floor(server.host.now));
    for (const path of device.wants)
      if (!known.some((one) => one.path === path))
        return `${device.strategy} ${path} is wanted, and the server has forgotten it`;
    if (world.now - device.quietSince < RECOVERY) continue;
    const fault = liveness(story, device);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** What is wrong with a device that had all it needs for a while. */
export function liveness(
  story: Story,
  { strategy, wants, unknown }: ModelDevice,
): string | undefined {
  const device = story.device(strategy);
  const { server } = story.server.stack;
  const now = Math.floor(story.server.host.now);
  const registration = server.registration(strategy, now);
  if (registration === undefined) return `${strategy} is not registered`;
  const location = device.stack.client.location?.join("/");
  if (location !== `rd/${registration.id}`)
    return `${strategy} is at ${location}, the server has it at rd/${registration.id}`;
  const known = server.observationsOf(strategy, now);
  for (const path of wants) {
    const state = known.find((one) => one.path === path)?.state;
    if (state !== "active")
      return `${strategy} ${path} is ${state ?? "forgotten"}, and nothing is in the way`;
    if (!unknown.has(path) && !device.observed.has(path))
      return `${strategy} does not know that ${path} is observed`;
  }
  return undefined;
}
