import type { SessionId } from "@godwit/base";
import type { ObservationView, RegistrationView, ServerStackOutput } from "@godwit/lwm2m";
import type { StoreHealth } from "@godwit/io";
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
   * Somebody was not let in: at the handshake, by OSCORE, or at its Register, Update or De-register. At most 200 a second are
   * told, 50 of one host. See `refusalCounts` of the server for how many there were.
   */
  readonly refusal: RefusalView;
  /** A Register, Update or De-register was refused; see `refusal` for words. */
  readonly refused: { readonly session: SessionId; readonly code: number; readonly detail: string };
  readonly dropped: { readonly session: SessionId; readonly reason: string };
  /** A DTLS handshake came to nothing; `why` is in our own words. `address` is for people to read. */
  readonly handshakeFailed: { readonly address: string; readonly why: string };
  /** A record of the store could not be restored at the start and was set aside. `reason` is in our own words. */
  readonly quarantined: { readonly table: string; readonly key: string; readonly reason: string };
  /** A line for SSLKEYLOGFILE: with it anybody can read what was recorded. Only where `keyLog` is on. */
  readonly keyLog: { readonly line: string };
  /** Something an operator may want to know, in a sentence. */
  readonly note: { readonly text: string };
  /** The store takes no more writes, or takes them again. Refused writes are told here, and not each as a `fault`. */
  readonly store: { readonly health: StoreHealth };
  /**
   * Our own fault, the store's, or that of a listener: log it as an error. `source`: "machine", "store", or "listener of" and
   * the event's name.
   */
  readonly fault: { readonly fault: Error; readonly source: string };
};

/** Every event there is. */
export const EVENTS: Readonly<Record<keyof Events, true>> = {
  registered: true,
  updated: true,
  deregistered: true,
  task: true,
  notification: true,
  observation: true,
  observationSilent: true,
  refusal: true,
  quarantined: true,
  refused: true,
  dropped: true,
  handshakeFailed: true,
  keyLog: true,
  note: true,
  store: true,
  fault: true,
};

/** Most listeners count; the device as people see it is made for those who look. */
export class Updated {
  readonly moved: boolean;
  readonly changed: readonly string[];
  readonly #output: Update;
  readonly #view: (registration: RegistrationView) => DeviceView;
  #device: DeviceView | undefined;

  constructor(output: Update, view: (registration: RegistrationView) => DeviceView) {
    this.moved = output.moved;
    this.changed = output.changed;
    this.#output = output;
    this.#view = view;
  }

  get device(): DeviceView {
    return (this.#device ??= this.#view(this.#output.registration));
  }
}

type Update = Extract<ServerStackOutput, { type: "updated" }>;
