import type { Story } from "../story.ts";
import { storeAgrees } from "./agreement.ts";
import { observationsAreLive } from "./observations.ts";
import { operationsEndOnce } from "./operations.ts";
import { revokedAreGone } from "./revoked.ts";
import { rowsHaveOwners } from "./rows.ts";

/** What holds after each step, by name. `up` and `nonces` are watched as things happen. */
export const INVARIANTS: readonly (readonly [
  name: string,
  (story: Story) => string | undefined,
])[] = [
  ["up", ({ model, server }) => (model.serverOn === server.isOn ? undefined : "the server is off")],
  ["revoked", revokedAreGone],
  ["rows", rowsHaveOwners],
  ["operations", operationsEndOnce],
  ["observations", observationsAreLive],
  ["agreement", storeAgrees],
];

/** Looks at all of them. */
export function checkAll(story: Story): void {
  for (const [name, look] of INVARIANTS) {
    if (story.violation !== undefined) return;
    const fault = look(story);
    if (fault !== undefined) story.broken(name, fault);
  }
}
