import type { SessionId } from "@godwit/base";
import type { StoreHealth } from "@godwit/io";
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
  readonly observation: {
    readonly endpoint: string;
    readonly path: string;
    readonly state: "active" | "ended";
  };
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

  on<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): () => void {
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
