import type { Story } from "../story.ts";
import { isOpen } from "../strategies.ts";

/** Nothing revoked is registered. What the server says to such a device is watched as it is said. */
export function revokedAreGone(story: Story): string | undefined {
  const { model, server } = story;
  if (!server.isOn) return undefined;
  for (const { strategy, serverKey, shutSince, excused } of model.devices) {
    if (shutSince === undefined || story.world.now < shutSince + 1_000 || excused) continue;
    if (!isOpen(strategy) && serverKey !== undefined) continue; // replaced: the registration waits for the device
    if (server.stack.server.registration(strategy, server.host.now) !== undefined)
      return `${strategy} is shut out, and its registration is there`;
  }
  return undefined;
}
