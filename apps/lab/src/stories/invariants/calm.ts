import type { ModelDevice } from "../model.ts";
import type { Story } from "../story.ts";
import { isOpen } from "../strategies.ts";
import { NOTIFIED, RECOVERY } from "./bounds.ts";
import { liveness } from "./observations.ts";

/** All is well: after `RECOVERY` every device that may be served is served. */
export function checkAfterCalm(story: Story): void {
  story.pass(RECOVERY);
  const { model } = story;
  for (const device of model.devices) device.excused = false;
  if (story.violation !== undefined) return;
  const welcome = model.devices.filter((device) => model.isWelcome(device));
  for (const device of welcome) {
    const fault = liveness(story, device);
    if (fault !== undefined) return story.broken("observations", fault);
  }
  delivers(story, welcome);
  serves(story, welcome);
}

/** What changes is passed on. */
function delivers(story: Story, welcome: readonly ModelDevice[]): void {
  const wanted = welcome.map((device) => ({ device, paths: [...device.wants] }));
  const n = story.change();
  story.pass(NOTIFIED - 1_000); // before the sensors change again
  for (const { device, paths } of wanted)
    for (const path of paths) {
      const value = story.readings.get(`${device.strategy} ${path}`);
      if (!device.wants.has(path) || device.unknown.has(path) || newer(value, n)) continue;
      story.broken(
        "observations",
        `${device.strategy} ${path} changed to ${n}, and the server has heard of ${value ?? "nothing"}`,
      );
    }
}

function newer(value: string | undefined, n: number): boolean {
  return value !== undefined && Number(value.replace(/^u/, "")) >= n;
}

/** Who is asked answers. */
function serves(story: Story, welcome: readonly ModelDevice[]): void {
  const reads = welcome.map((device) => story.operations.read(device, RECOVERY));
  story.world.runUntil(() => reads.every(({ ends }) => ends.length > 0), RECOVERY);
  for (const { strategy, answer, ends } of reads)
    // What is meant for a device that proves nothing may reach the next that has its address, and that refuses it.
    if (answer !== "2.05 87" && !(story.sharesPorts && isOpen(strategy) && answer === "4.01 "))
      story.broken(
        "operations",
        `all is well, and a read of ${strategy} ends ${ends.join()} ${answer}`,
      );
}
