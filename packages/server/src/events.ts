import { UsageError, type SessionId } from "@godwit/base";
import type { StoreHealth } from "@godwit/io";
import type { ObservationView } from "@godwit/lwm2m";
import type { RefusalView } from "./refusals.ts";
import type { Answer, DeviceView, Task } from "./task.ts";

/** What a server tells its listeners. Text that comes from devices is as they sent it: escape it before you show it. */
export type Events = {
  readonly registered: { readonly device: DeviceView; readonly replaced: boolean };
  readonly updated: {
    /** As it is when first looked at. */
    readonly device: DeviceView;
    readonly moved: boolean;
    readonly changed: readonly string[];
  };
  readonly deregistered: {
    readonly endpoint: string;
    /**
     * `revoked`: its credential is gone. `refused`: it proves nothing, and has to: NoSec was switched off, or its endpoint
     * got a credential.
     */
    readonly why: "device" | "expired" | "replaced" | "removed" | "evicted" | "revoked" | "refused";
  };
  readonly task: { readonly task: Task };
  readonly notification: {
    readonly endpoint: string;
    readonly path: string;
    readonly answer: Answer;
    /** ms since 1970. */
    readonly at: number;
  };
  /** What has become of a wanted observation, and why, in words. `ended`: nobody wants it any more. */
  readonly observation: {
    readonly endpoint: string;
    readonly path: string;
    readonly state: ObservationView["state"] | "ended";
    readonly reason: string;
  };
  /** The device speaks, but does not report, and does not answer when it is asked to. */
  readonly observationSilent: {
    readonly endpoint: string;
    readonly path: string;
    /** When it last reported. */
    readonly heardAt: number;
  };
  /**
   * Somebody was not let in: at the handshake, by OSCORE, or at its Register, Update or De-register. Of OSCORE a few a second
   * are told, however many come.
   */
  readonly refusal: RefusalView;
  /** A Register, Update or De-register was refused; see `refusal` for words. */
  readonly refused: { readonly session: SessionId; readonly code: number; readonly detail: string };
  readonly dropped: { readonly session: SessionId; readonly reason: string };
  /**
   * A DTLS handshake came to nothing; `why` is in our own words. `address` is for people to read. `kept`: how many like it, from
   * the same network, came since the last that was told: in a flood a few are.
   */
  readonly handshakeFailed: {
    readonly address: string;
    readonly why: string;
    readonly kept: number;
  };
  /** A record of the store could not be restored at the start and was set aside. `reason` is in our own words. */
  readonly quarantined: { readonly table: string; readonly key: string; readonly reason: string };
  /** A line for SSLKEYLOGFILE: with it anybody can read what was recorded. Only where `keyLog` is on. */
  readonly keyLog: { readonly line: string };
  /** Something an operator may want to know, in a sentence. */
  readonly note: { readonly text: string };
  /** The store takes no more writes, or takes them again. Refused writes are told here, and not each as a `fault`. */
  readonly store: { readonly health: StoreHealth };
  /** Our own fault, or the store's: log it as an error. */
  readonly fault: { readonly fault: Error };
};

/** Listeners by event name. A listener that throws harms nobody else: its error goes to `fault`. */
export class Listeners {
  readonly #sets = new Map<keyof Events, Set<(event: never) => void>>();

  /** @throws UsageError for an event that there is not */
  on<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): () => void {
    if (!Object.hasOwn(NAMES, name))
      throw new UsageError(
        `there is no event ${JSON.stringify(name)}; there are: ${Object.keys(NAMES).join(", ")}`,
      );
    if (typeof listener !== "function")
      throw new UsageError(`the listener of ${JSON.stringify(name)} is no function`);
    const set = this.#sets.get(name) ?? new Set();
    set.add(listener as (event: never) => void);
    this.#sets.set(name, set);
    return () => void set.delete(listener as (event: never) => void);
  }

  emit<K extends keyof Events>(name: K, event: Events[K]): void {
    for (const listener of this.#sets.get(name) ?? []) {
      try {
        (listener as (event: Events[K]) => void)(event);
      } catch (cause) {
        if (name === "fault") throw cause;
        const fault = cause instanceof Error ? cause : new Error(String(cause));
        this.emit("fault", { fault });
      }
    }
  }
}

const NAMES: Readonly<Record<keyof Events, true>> = {
  registered: true,
  updated: true,
  deregistered: true,
  task: true,
  notification: true,
  observation: true,
  observationSilent: true,
  refusal: true,
  refused: true,
  dropped: true,
  handshakeFailed: true,
  quarantined: true,
  keyLog: true,
  store: true,
  note: true,
  fault: true,
};
