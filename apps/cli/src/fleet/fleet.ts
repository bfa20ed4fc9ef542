import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { Device, type SessionView } from "@godwit/client";
import { formatCode } from "@godwit/coap";

export type FleetOptions = {
  /** "coap://host[:port]" */
  readonly server: string;
  readonly count: number;
  /** Endpoint names are this and a number. */
  readonly prefix: string;
  /** s */
  readonly lifetime: number;
  readonly keepAlive: "off" | "auto" | number;
  readonly queueMode: boolean;
  /** ms over which the devices start, evenly. */
  readonly ramp: number;
};

/** What has happened so far. */
export type FleetFigures = {
  readonly devices: number;
  /** Devices that are registered now, and Registers that were answered 2.01 in all. */
  readonly registered: number;
  readonly registrations: number;
  /** Registers and Updates that the server refused, by code. */
  readonly refused: number;
  readonly refusals: Readonly<Record<string, number>>;
  /** Registers and Updates that nobody answered. */
  readonly unanswered: number;
  readonly updates: number;
  /** Operations of the server that were carried out or refused. */
  readonly operations: number;
  readonly faults: number;
  readonly bytes: { readonly in: number; readonly out: number; readonly total: number };
};

/** Many devices with thermometers, each with a socket, and so a session, of its own. */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #members: Member[] = [];
  readonly #registered = new Set<Member>();
  readonly #refusals = new Map<string, number>();
  readonly #counts = { registrations: 0, unanswered: 0, updates: 0, operations: 0, faults: 0 };
  #weather: NodeJS.Timeout | undefined;
  #turn = 0;
  #stopping = false;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  /** Starts the devices one after the other. Resolves when all have been started, or `stop` was called. */
  async start(): Promise<void> {
    const { count, ramp, server } = this.#options;
    const address = await numeric(server);
    const began = performance.now();
    this.#weather = setInterval(() => this.#changeWeather(), TICK);
    for (let i = 0; i < count && !this.#stopping; i++) {
      const early = began + (i * ramp) / count - performance.now();
      if (early > 1) await new Promise((resolve) => setTimeout(resolve, early));
      await this.#add(i, address);
    }
  }

  /** De-registers all, and gives up on those that get no answer. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#weather);
    for (let i = 0; i < this.#members.length; i += LEAVE_TOGETHER) {
      const some = this.#members.slice(i, i + LEAVE_TOGETHER);
      await Promise.all(some.map(({ device }) => device.stop()));
    }
  }

  figures(): FleetFigures {
    const bytes = { in: 0, out: 0, total: 0 };
    for (const { device, last } of this.#members) {
      const session = device.session ?? last;
      if (session === undefined) continue;
      bytes.in += session.bytes.in;
      bytes.out += session.bytes.out;
      bytes.total += session.bytes.total;
    }
    const { registrations, ...counts } = this.#counts;
    const refused = [...this.#refusals.values()].reduce((sum, n) => sum + n, 0);
    return {
      devices: this.#members.length,
      registered: this.#registered.size,
      registrations,
      refused,
      refusals: Object.fromEntries(this.#refusals),
      ...counts,
      bytes,
    };
  }

  async #add(index: number, server: string): Promise<void> {
    const { prefix, lifetime, keepAlive, queueMode, count } = this.#options;
    const digits = String(count - 1).length;
    const endpoint = prefix + String(index).padStart(digits, "0");
    const device = new Device({ endpoint, server, lifetime, keepAlive, queueMode });
    const member: Member = { device, celsius: 15 + (index % 100) / 10, last: undefined };
    device.add(3303, {
      5700: () => member.celsius,
      5701: "Cel",
      5605: () => {},
      5750: endpoint,
    });
    const counts = this.#counts;
    device.on("registered", () => {
      this.#registered.add(member);
      counts.registrations += 1;
    });
    device.on("deregistered", () => this.#registered.delete(member));
    device.on("refused", ({ code }) => {
      this.#registered.delete(member);
      this.#refusals.set(formatCode(code), (this.#refusals.get(formatCode(code)) ?? 0) + 1);
    });
    device.on("unreachable", () => void (counts.unanswered += 1));
    device.on("updated", () => void (counts.updates += 1));
    device.on("performed", () => void (counts.operations += 1));
    device.on("fault", () => void (counts.faults += 1));
    device.on("session", (session) => (member.last = session));
    this.#members.push(member);
    await device.start();
  }

  /** Each thermometer shows something else every WEATHER ms; a few at a time. */
  #changeWeather(): void {
    const { length } = this.#members;
    for (let n = Math.ceil((length * TICK) / WEATHER); n > 0; n--) {
      const member = this.#members[this.#turn++ % length]!; // n is 0 where there is none
      member.celsius = Math.round((member.celsius + Math.random() - 0.5) * 100) / 100;
      member.device.changed("/3303/0/5700");
    }
  }
}

type Member = { readonly device: Device; celsius: number; last: SessionView | undefined };

/** The server's name is looked up once, not by every device. */
async function numeric(server: string): Promise<string> {
  const { hostname, port } = new URL(server);
  const host = hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0 || host === "") return server;
  let address: string;
  try {
    ({ address } = await lookup(host));
  } catch (cause) {
    throw new Error(`cannot find the server ${host}: is the name right, and is there a network?`, {
      cause,
    });
  }
  const literal = isIP(address) === 6 ? `[${address}]` : address;
  return `${new URL(server).protocol}//${literal}${port === "" ? "" : `:${port}`}`;
}

/** ms between two looks at the weather, and between two changes of one thermometer. */
const TICK = 200;
const WEATHER = 5_000;
/** De-registrations under way at once: what a server's receive buffer takes with ease. */
const LEAVE_TOGETHER = 200;
