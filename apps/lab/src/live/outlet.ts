import {
  Outbox,
  type DatagramEvent,
  type Machine,
  type Path,
  type SocketAddress,
} from "@godwit/base";

export type OutletInput =
  | DatagramEvent
  /** What somebody outside answers to `to`. */
  | { readonly type: "answer"; readonly to: SocketAddress; readonly bytes: Uint8Array };

/** A datagram that leaves the world, as the server outside is to see it come. */
export type LeavingDatagram = {
  readonly type: "leaves";
  readonly from: SocketAddress;
  readonly bytes: Uint8Array;
};

/** Stands in a simulated world where the server would: what arrives leaves the world, what is answered comes from here. */
export class Outlet implements Machine<OutletInput, DatagramEvent | LeavingDatagram> {
  readonly wakeAt = undefined;
  readonly #outbox = new Outbox<DatagramEvent | LeavingDatagram>();

  handle(input: OutletInput): void {
    if (input.type === "datagram") {
      const bytes = input.bytes.slice(); // it outlives the call
      this.#outbox.push({ type: "leaves", from: input.path.remote, bytes });
    } else this.#outbox.push({ type: "datagram", path: pathTo(input.to), bytes: input.bytes });
  }

  wake(): void {
    // nothing here waits
  }

  poll(): DatagramEvent | LeavingDatagram | undefined {
    return this.#outbox.take();
  }
}

/** Port 0 is the socket the machine sits at. */
function pathTo(remote: SocketAddress): Path {
  return { local: { host: "0.0.0.0", port: 0 }, remote };
}
