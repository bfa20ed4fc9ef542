import { unreachable, type Instant } from "@godwit/base";
import { codeName, formatCode, isSuccess } from "@godwit/coap";
import type { ObservationState } from "./observations.ts";

/** What people and programs see of an observation; plain data. `silent`: nothing came by the time it was due. */
export type ObservationView = {
  readonly path: string;
  readonly state: "wanted" | "asking" | "active" | "silent" | "refused";
  /** Why it is in this state, in words. */
  readonly reason: string;
  /** When the device last reported, and by when it should again; while it is active or silent. */
  readonly heardAt: Instant | undefined;
  readonly dueBy: Instant | undefined;
};

/** `isRegistered`: the device is. `isAsked`: what asks for it has been sent. */
export function viewState(
  state: Exclude<ObservationState, { name: "ending" }>,
  isRegistered: boolean,
  isAsked: boolean,
  now: Instant,
): Pick<ObservationView, "state" | "reason"> {
  switch (state.name) {
    case "wanted":
      return { state: "wanted", reason: WANTED[isRegistered ? state.why : "unregistered"] };
    case "asking":
      return isAsked
        ? { state: "asking", reason: "the device was asked and has not answered yet" }
        : { state: "wanted", reason: WANTED[isRegistered ? "registered" : "unregistered"] };
    case "active": {
      if (now < state.dueBy) return { state: "active", reason: "the device observes it" };
      const asked = state.failures > 0 ? `; asked again ${state.failures} times in vain` : "";
      return { state: "silent", reason: `nothing was reported by the time it was due${asked}` };
    }
    case "refused": {
      if (state.code === 0) return { state: "refused", reason: REJECTED };
      const said = `the device answered ${formatCode(state.code)} ${codeName(state.code) ?? ""}`;
      const reason = isSuccess(state.code) ? `${said} and does not observe it` : said.trim();
      return { state: "refused", reason };
    }
    default:
      return unreachable(state);
  }
}

const REJECTED =
  "the device rejects the question (RST), or answers it in a way that breaks the protocol; it is asked again when it registers";
const WAITS = "waits until the device can be asked";
const WANTED = {
  unregistered: "the device is not registered",
  registered: WAITS,
  keys: `the session has new keys; ${WAITS}`,
  restart: `the server restarted; ${WAITS}`,
} as const;
