// DTLS 1.2 with a pre-shared key. A handshake comes first; after that a device either resumes its session whenever the
// NAT may have forgotten it, or says who it is by a Connection ID (RFC 9146) in each record and is known wherever it is.

import { dissect, type SeenDatagram } from "@godwit/dtls";
import type { ClientDtlsOptions, ServerDtlsOptions } from "@godwit/lwm2m";
import { World } from "@godwit/netsim";
import { SimulatedDevice } from "../simulation/device.ts";
import { SimulatedServer } from "../simulation/server.ts";
import { coapName } from "./datagram-name.ts";
import { EXAMPLE, exampleValues, publishedBytes } from "./published.ts";
import type { NamedDatagram, Row, Settings, Step } from "./row.ts";

/** The session is resumed, with the cookie exchange, and the Update that follows tells the server. */
export function dtls12Resume(): readonly Row[] {
  return (["published", "defaults"] as const).map((settings) => {
    const stage = new Stage(settings, "resume");
    stage.register();
    const resume = stage.during(() => stage.device.reboot({ kept: true }));
    return row("dtls12-resume", "resume", settings, stage.name(resume));
  });
}

export function dtls12Cid(): readonly Row[] {
  return (["published", "defaults"] as const).flatMap((settings) => {
    const stage = new Stage(settings, "cid");
    const first = stage.name(stage.register());
    const handshake = first.findIndex(({ name }) => name.startsWith("CON"));
    const update = stage.during(() => stage.device.update());
    return [
      row("dtls12-cid", "establish", settings, first.slice(0, handshake)),
      row("dtls12-cid", "register", settings, first.slice(handshake)),
      row("dtls12-cid", "update", settings, stage.name(update)),
    ];
  });
}

function row(
  strategy: "dtls12-resume" | "dtls12-cid",
  step: Step,
  settings: Settings,
  datagrams: readonly NamedDatagram[],
): Row {
  const bytes = datagrams.reduce((sum, datagram) => sum + datagram.bytes, 0);
  return { strategy, step, settings, datagrams, bytes, published: publishedBytes(strategy, step) };
}

/** A device, its server, and all that crosses the device's link, with the keys to read it. */
class Stage {
  readonly device: SimulatedDevice;
  readonly #world = new World({ seed: 1 });
  readonly #seen: SeenDatagram[] = [];
  readonly #keyLog: string[] = [];

  constructor(settings: Settings, strategy: "cid" | "resume") {
    const { identity, locationLength, server: how } = settings === "published" ? PUBLISHED : OURS;
    const tuning = { boundLocationLength: locationLength };
    const server = new SimulatedServer(this.#world, tuning, { dtls: how });
    const { endpoint } = EXAMPLE;
    server.addCredential({ kind: "psk", endpoint, identity, key: KEY });
    const dtls: ClientDtlsOptions = {
      credentials: { kind: "psk", identity, key: KEY },
      ...(strategy === "cid" && { connectionId: new Uint8Array(0) }),
      keyLog: true,
    };
    this.device = new SimulatedDevice(this.#world, server.secureAddress, {
      endpoint,
      values: exampleValues(),
      versions: EXAMPLE.versions,
      behind: this.#world.nat("azure-5g"),
      link: { delay: 0 },
      client: { server: { 1: EXAMPLE.seconds }, verbose: true, versionOnInstance: true },
      dtls,
      onKeyLog: (line) => void this.#keyLog.push(line),
    });
    this.device.host.link.watch(({ direction, bytes, icmp }) => {
      if (icmp !== undefined) return;
      this.#seen.push({
        from: direction === "up" ? "client" : "server",
        bytes: new Uint8Array(bytes),
      });
    });
  }

  register(): Span {
    return this.during(() => this.device.start());
  }

  /** Which datagrams cross from here until all is still. */
  during(play: () => void): Span {
    const from = this.#seen.length;
    play();
    this.#world.run(SETTLED);
    return { from, to: this.#seen.length };
  }

  name({ from, to }: Span): readonly NamedDatagram[] {
    const contents = dissect(this.#seen, this.#keyLog);
    return this.#seen.slice(from, to).map((datagram, place) => ({
      from: datagram.from,
      name: (contents[from + place] ?? [])
        .map((part) => (part.type === "message" ? part.name : coapName(part.bytes)))
        .join(" + "),
      bytes: datagram.bytes.length,
    }));
  }
}

type Span = { readonly from: number; readonly to: number };

type Play = {
  readonly identity: string;
  readonly locationLength: number;
  readonly server: Partial<ServerDtlsOptions>;
};

const PUBLISHED: Play = {
  identity: "imei1234567890",
  locationLength: EXAMPLE.locationLength,
  server: { tuning: { cidLength: 9 } },
};
const OURS: Play = { identity: "dev01", locationLength: 1, server: {} };
const KEY = new Uint8Array(16).map((_, i) => i);
const SETTLED = "1 s";
