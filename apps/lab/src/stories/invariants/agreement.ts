import { isFinal, type ObservationView, type RegistrationView } from "@godwit/lwm2m";
import type { Story } from "../story.ts";
import { WRITTEN } from "./bounds.ts";

/** Store and memory agree: a server that started now would know what this one knows. */
export function storeAgrees(story: Story): string | undefined {
  const { server, model } = story;
  if (!server.isOn || model.diskFull || server.disk.pending > 0) return undefined;
  if (server.host.now < story.fullUntil + WRITTEN) return undefined;
  if (story.damagedRows.size > 0 && model.devices.some(({ excused }) => excused)) return undefined;
  const now = Math.floor(server.host.now);
  let shadow: ReturnType<typeof server.shadow>;
  try {
    shadow = server.shadow();
  } catch (fault) {
    return `a server that starts now throws: ${fault instanceof Error ? fault.message : String(fault)}`;
  }
  const [here, there] = [server.stack.server, shadow.server];
  const registered = [...here.endpoints()].toSorted();
  const restored = [...there.endpoints()].toSorted();
  if (registered.join() !== restored.join())
    return `registered are ${registered.join(", ")}; after a restart ${restored.join(", ")}`;
  for (const endpoint of registered) {
    const [a, b] = [here.registration(endpoint, now), there.registration(endpoint, now)];
    if (a === undefined || b === undefined) continue;
    // What an Update brought while the disk was full was not promised to anybody.
    const isOpen = server.stack.pathOf(a.session) !== undefined;
    const fault = a.updatedAt <= story.fullUntil ? undefined : differs(a, b, isOpen);
    if (fault !== undefined) return `${endpoint}: ${fault} after a restart`;
  }
  for (const { strategy } of model.devices) {
    const [a, b] = [here, there].map((one) => pathsOf(one.observationsOf(strategy, now)));
    if (a !== b) return `observed of ${strategy}: ${a}; after a restart ${b}`;
  }
  for (const { id, word, accepted } of story.operations.all) {
    const [a, b] = [here.operation(id)?.state, there.operation(id)?.state];
    if (!accepted || a === undefined) continue;
    if (b === undefined || isFinal(a) !== isFinal(b) || (isFinal(a) && a.name !== b.name))
      return `operation ${word} is ${a.name}; after a restart ${b?.name ?? "lost"}`;
  }
  const ids = (stack: typeof shadow): string =>
    stack
      .credentials()
      .map(({ id }) => id)
      .toSorted()
      .join(", ");
  if (ids(server.stack) !== ids(shadow))
    return `credentials are ${ids(server.stack)}; after a restart ${ids(shadow)}`;
  return undefined;
}

function pathsOf(observations: readonly ObservationView[]): string {
  return observations
    .map(({ path }) => path)
    .toSorted((a, b) => a.localeCompare(b))
    .join(", ");
}

/** `isOpen`: its session is there; else it has a number that stands for none. */
function differs(a: RegistrationView, b: RegistrationView, isOpen: boolean): string | undefined {
  if (isOpen && a.session !== b.session) return `session ${a.session} is ${b.session}`;
  for (const field of ["id", "lifetime", "binding", "queueMode"] as const)
    if (a[field] !== b[field]) return `${field} ${a[field]} is ${b[field]}`;
  if (a.updatedAt !== b.updatedAt) return `updatedAt ${a.updatedAt} is ${b.updatedAt}`;
  if ((b.expiresAt ?? Infinity) < (a.expiresAt ?? Infinity))
    return `expiresAt ${a.expiresAt} is ${b.expiresAt}`;
  const [one, other] = [a.identity, b.identity].map((identity) => JSON.stringify(identity));
  return one === other ? undefined : `identity ${one} is ${other}`;
}
