import { ContextPeers } from "../context-peers.ts";
import { locationIn, messageOf } from "../messages.ts";
import { percentiles } from "../statistics.ts";
import { identityOf, type FloodAnswer, type FloodAsk, type Ports, type Updates } from "./asks.ts";
import { CidClient } from "./cid-client.ts";
import { SERVER, bindAt } from "./socket.ts";

/** The devices that are at work while strangers do their worst. */
export class Devices {
  #ports: Ports = { coap: 0, coaps: 0 };
  readonly #all: Device[] = [];
  /** Their sequence numbers go on from one ask to the next. */
  readonly #peers = new ContextPeers();

  async come({ ports, devices }: AskOf<"come">): Promise<FloodAnswer["come"]> {
    this.#ports = ports;
    let next = 0;
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        while (next < devices) {
          const device = await Device.come(ports.coaps, identityOf(next++), PATIENCE);
          if (device !== undefined) this.#all.push(device);
        }
      }),
    );
    return { devices: this.#all.length, cids: this.#all.map(({ client }) => client.cid) };
  }

  /** Each Update is due at its time, whatever became of the one before; who still waits skips it, and it counts as lost. */
  async update({ seconds, perSecond }: AskOf<"update">): Promise<Updates> {
    const began = performance.now();
    const total = Math.round(seconds * perSecond);
    const latencies: number[] = [];
    const running: Promise<void>[] = [];
    let due = 0;
    let atOnce = 0;
    while (due < total) {
      const now = performance.now() - began;
      for (; due < total && (due * 1_000) / perSecond <= now; due++) {
        const device = this.#all[due % this.#all.length]!; // there is one
        if (device.isBusy) continue;
        running.push(
          device.update(LAST_ANSWER).then((update) => {
            if (update === undefined) return;
            latencies.push(update.ms);
            if (!update.again) atOnce += 1;
          }),
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await Promise.all(running);
    const [p50 = 0, p99 = 0] = percentiles(Float64Array.from(latencies), [50, 99]);
    return { due: total, atOnce, answered: latencies.length, p50, p99 };
  }

  async exchange({ what, seconds }: AskOf<"exchange">): Promise<FloodAnswer["exchange"]> {
    const until = performance.now() + seconds * 1_000;
    let completed = 0;
    const one = await this.#exchanger(what);
    await Promise.all(
      Array.from({ length: one.atOnce }, async (_, turn) => {
        while (performance.now() < until) if (await one.run(turn)) completed += 1;
      }),
    );
    one.end();
    return { completed };
  }

  async newcomer({ n, seconds }: AskOf<"newcomer">): Promise<FloodAnswer["newcomer"]> {
    const began = performance.now();
    const device = await Device.come(this.#ports.coaps, identityOf(n), seconds * 1_000);
    device?.client.close();
    return { ms: device === undefined ? undefined : performance.now() - began };
  }

  async #exchanger(what: AskOf<"exchange">["what"]): Promise<Exchanger> {
    if (what === "OSCORE GET") return overOscore(this.#ports.coap, this.#peers);
    // Devices beyond the first ones: a resumption gives a device another connection id.
    const own = await Promise.all(
      Array.from({ length: EXCHANGING }, (_, i) => CidClient.open(this.#ports.coaps, shaker(i))),
    );
    const clients = own.filter((client) => client !== undefined);
    for (const client of clients) await client.handshake("full", PATIENCE);
    const ping = Uint8Array.of(0x40, 0, 0, 0);
    return {
      atOnce: clients.length,
      run: async (turn) => {
        const client = clients[turn]!; // as many turns as clients
        if (what === "resumed handshake") return await client.handshake("resume", PATIENCE);
        return (await client.ask(ping, PATIENCE)) !== undefined;
      },
      end: () => clients.forEach((client) => client.close()),
    };
  }
}

type AskOf<T extends FloodAsk["type"]> = Extract<FloodAsk, { type: T }>;

type Exchanger = {
  readonly atOnce: number;
  run(turn: number): Promise<boolean>;
  end(): void;
};

/** As many contexts as turns, one request after the other in each. */
async function overOscore(port: number, peers: ContextPeers): Promise<Exchanger> {
  const heard: ((bytes: Uint8Array) => void)[] = [];
  const sockets = await Promise.all(
    Array.from({ length: EXCHANGING }, (_, turn) =>
      bindAt(SERVER, (bytes) => heard[turn]?.(bytes)),
    ),
  );
  let number = 0;
  return {
    atOnce: EXCHANGING,
    run: async (turn) => {
      const message = messageOf({ kind: "get", path: "/.well-known/core" });
      number = (number + 1) & 0xffff;
      message[2] = number >>> 8;
      message[3] = number;
      const sealed = peers.seal(contextOf(turn), message);
      const answer = await new Promise<Uint8Array | undefined>((resolve) => {
        const timer = setTimeout(() => resolve(undefined), PATIENCE);
        heard[turn] = (bytes) => {
          if (bytes[1] === 0) return; // an ACK alone: the answer follows
          clearTimeout(timer);
          resolve(bytes);
        };
        sockets[turn]?.send(sealed, port, SERVER);
      });
      return answer !== undefined && peers.open(contextOf(turn), answer).length > 0;
    },
    end: () => sockets.forEach((socket) => socket?.close()),
  };
}

class Device {
  readonly client: CidClient;
  readonly #update: Uint8Array;
  isBusy = false;

  private constructor(client: CidClient, location: readonly string[]) {
    this.client = client;
    this.#update = messageOf({ kind: "update", location });
  }

  /** Undefined: it could not register in `ms`. */
  static async come(port: number, endpoint: string, ms: number): Promise<Device | undefined> {
    const until = performance.now() + ms;
    const client = await CidClient.open(port, endpoint);
    if (client === undefined) return undefined;
    if (await client.handshake("full", ms)) {
      const register = messageOf({ kind: "register", endpoint });
      const answer = await client.ask(register, until - performance.now());
      if (answer !== undefined && answer[1] === CREATED)
        return new Device(client, locationIn(answer));
    }
    client.close();
    return undefined;
  }

  async update(ms: number): Promise<{ readonly ms: number; readonly again: boolean } | undefined> {
    this.isBusy = true;
    let again = false;
    const began = performance.now();
    const answer = await this.client.ask(this.#update, ms, () => (again = true));
    this.isBusy = false;
    if (answer?.[1] !== CHANGED) return undefined;
    return { ms: performance.now() - began, again };
  }
}

/** Identity of the `i`-th client that only makes handshakes and pings. */
export function shaker(i: number): string {
  return `shaker-${i}`;
}

/** Number of the `i`-th OSCORE credential that only such exchanges are made by. */
export function contextOf(i: number): number {
  return 100 + i;
}

/** How many of both there are. */
export const EXCHANGING = 16;
/** Handshakes at once while the devices come. */
const AT_ONCE = 16;
/** ms that a device waits for its server. */
const PATIENCE = 20_000;
/** ms after which an Update counts as lost: the first transmission and two more. */
const LAST_ANSWER = 7_000;
/** 2.01 and 2.04. */
const CREATED = 0x41;
const CHANGED = 0x44;
