import {
  type Path,
  type Rng,
  type SocketAddress,
  type StoreChange,
  hex,
  seededRng,
} from "@godwit/base";
import { DtlsClient, type DtlsClientInput, type DtlsClientOptions } from "../client.ts";
import type { Lookup, Verdict } from "../credentials.ts";
import type { DtlsInput, DtlsOutput, Sealer } from "../events.ts";
import { DtlsServer } from "../server.ts";
import type { DtlsServerInput, DtlsServerOptions } from "../server-options.ts";

/** One server, some clients, and a network between them that does what a test wants, in virtual time. */
export class Wire {
  now: number = 1_000_000;
  readonly rng: Rng;
  readonly server: Peer<DtlsServer, DtlsServerInput>;
  readonly clients: Peer<DtlsClient, DtlsClientInput>[] = [];
  /** Every datagram that was sent, whatever became of it. */
  readonly sent: { from: "client" | "server"; at: number; path: Path; bytes: Uint8Array }[] = [];
  /** Decides the fate of a datagram: how often it arrives and after how long. */
  carry: (datagram: {
    from: "client" | "server";
    path: Path;
    bytes: Uint8Array;
  }) => readonly number[] = () => [10];
  /** Rewrites the address a client appears under, as a NAT does. */
  nat: (client: SocketAddress) => SocketAddress = (address) => address;
  readonly #queue: { at: number; order: number; run: () => void }[] = [];
  #order = 0;

  constructor(options: { seed?: number; server?: Partial<DtlsServerOptions> } = {}) {
    this.rng = seededRng(options.seed ?? 1);
    this.server = new Peer(
      new DtlsServer({
        rng: seededRng((options.seed ?? 1) + 1_000),
        credentials: { psk: true, certificates: [], clientCertificates: [] },
        ...options.server,
      }),
    );
  }

  client(
    options: Partial<DtlsClientOptions> & { readonly address?: SocketAddress } = {},
  ): Peer<DtlsClient, DtlsClientInput> {
    const n = this.clients.length;
    const peer = new Peer<DtlsClient, DtlsClientInput>(
      new DtlsClient({
        rng: seededRng(7_000 + n + Math.floor(this.rng.float() * 1e6)),
        credentials: { kind: "psk", identity: "dev01", key: KEY },
        ...options,
      }),
    );
    peer.address = options.address ?? { host: "192.0.2.7", port: 40_000 + n };
    this.clients.push(peer);
    return peer;
  }

  /** Begins a handshake of a client and runs until nothing is on its way. */
  connect(client: Peer<DtlsClient, DtlsClientInput>, how: "full" | "resume" = "full"): void {
    const path = { local: client.address, remote: SERVER };
    this.tell(client, { type: "connect", session: 1, path, how });
    this.run(3_000);
  }

  tell(peer: AnyPeer, input: DtlsInput | DtlsClientInput | DtlsServerInput): void {
    peer.machine.handle(input as never, this.now);
    this.drain(peer);
  }

  /** Runs the world for so many ms. */
  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const next = this.#queue.sort((a, b) => a.at - b.at || a.order - b.order)[0];
      const wake = this.#peers()
        .map((peer) => ({ peer, at: peer.machine.wakeAt ?? Infinity }))
        .sort((a, b) => a.at - b.at)[0]; // there is a server at least
      const at = Math.min(next?.at ?? Infinity, wake?.at ?? Infinity);
      if (at > end) break;
      this.now = Math.max(this.now, at);
      if (next !== undefined && next.at <= (wake?.at ?? Infinity)) {
        this.#queue.shift();
        next.run();
      } else if (wake !== undefined) {
        wake.peer.machine.wake(this.now);
        this.drain(wake.peer);
      }
    }
    this.now = end;
  }

  later(ms: number, run: () => void): void {
    this.#queue.push({ at: this.now + ms, order: this.#order++, run });
  }

  /** Hands a datagram to the server as if it had come from `remote`. */
  inject(bytes: Uint8Array, remote: SocketAddress): void {
    this.tell(this.server, { type: "datagram", path: { local: SERVER, remote }, bytes });
  }

  drain(peer: AnyPeer): void {
    for (;;) {
      const output = peer.machine.poll();
      if (output === undefined) return;
      peer.outputs.push(output);
      this.#act(peer, output);
    }
  }

  #act(peer: AnyPeer, output: DtlsOutput): void {
    if (output.type === "datagram") {
      this.#transmit(peer, output.path, output.bytes);
    } else if (output.type === "lookup" && !peer.silent) {
      const { id, lookup } = output;
      if (lookup.kind === "psk") {
        this.tell(peer, { type: "psk", id, key: peer.keys.get(lookup.identity) });
      } else this.tell(peer, { type: "verdict", id, verdict: peer.judge(lookup) });
    } else if (output.type === "store") this.#keep(peer, output.ticket, output.changes);
  }

  #keep(peer: AnyPeer, ticket: number, changes: readonly StoreChange[]): void {
    if (peer.storeBroken) {
      this.tell(peer, { type: "stored", ticket, ok: false });
      return;
    }
    const commit = (): void => {
      for (const { table, key, value } of changes) {
        if (value === undefined) peer.store.delete(`${table} ${key}`);
        else peer.store.set(`${table} ${key}`, value);
      }
      this.tell(peer, { type: "stored", ticket, ok: true });
    };
    if (peer.storeDelay === 0) commit();
    else this.later(peer.storeDelay, commit);
  }

  #transmit(peer: AnyPeer, path: Path, bytes: Uint8Array): void {
    const from = peer === this.server ? "server" : "client";
    this.sent.push({ from, at: this.now, path, bytes });
    for (const delay of this.carry({ from, path, bytes })) {
      this.later(delay, () => this.#arrive(from, path, bytes));
    }
  }

  #arrive(from: "client" | "server", path: Path, bytes: Uint8Array): void {
    if (from === "client") {
      return this.inject(bytes, this.nat(path.local));
    }
    const target = this.clients.find((client) => {
      const seen = this.nat(client.address);
      return seen.port === path.remote.port && seen.host === path.remote.host;
    });
    if (target === undefined) return undefined; // the NAT knows nobody there
    const back = { local: target.address, remote: SERVER };
    return this.tell(target, { type: "datagram", path: back, bytes });
  }

  #peers(): AnyPeer[] {
    return [this.server, ...this.clients];
  }
}

type AnyPeer = Peer<DtlsServer, DtlsServerInput> | Peer<DtlsClient, DtlsClientInput>;

/** A machine with what its shell would do for it. */
export class Peer<M extends DtlsServer | DtlsClient, I> {
  machine: M;
  address: SocketAddress = SERVER;
  readonly outputs: DtlsOutput[] = [];
  readonly store: Map<string, Uint8Array> = new Map<string, Uint8Array>();
  storeDelay: number = 0;
  storeBroken: boolean = false;
  /** Answers no look-ups. */
  silent: boolean = false;
  readonly keys: Map<string, Uint8Array> = new Map([["dev01", KEY]]);
  judge: (lookup: Lookup) => Verdict = () => ({ ok: true });
  declare readonly input: I;

  constructor(machine: M) {
    this.machine = machine;
  }

  of<T extends DtlsOutput["type"]>(type: T): Extract<DtlsOutput, { type: T }>[] {
    return this.outputs.filter((o): o is Extract<DtlsOutput, { type: T }> => o.type === type);
  }

  /** The session that was opened last. */
  get session(): number {
    return this.of("opened").at(-1)?.session ?? 0;
  }

  received(): string[] {
    return this.of("received").map(({ bytes }) => new TextDecoder().decode(bytes));
  }
}

/** Seals by a constant, so that a test can see what is in a row and that nothing is there unsealed. */
export const SEALER: Sealer = {
  seal: (plain) => Uint8Array.from([0x5e, ...plain.map((byte) => byte ^ 0xa5)]),
  open: (sealed) =>
    sealed[0] === 0x5e ? sealed.subarray(1).map((byte) => byte ^ 0xa5) : undefined,
};

export const SERVER: SocketAddress = { host: "198.51.100.1", port: 5_684 };
export const KEY: Uint8Array = hex("000102030405060708090a0b0c0d0e0f");
