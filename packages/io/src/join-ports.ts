import { UsageError, type DatagramEvent } from "@godwit/base";
import type { DatagramPort } from "./driver.ts";
import type { UdpPort } from "./udp-socket.ts";

/** Several UDP ports as one: what arrives by any of them, and what is sent leaves from the one that its path names. */
export function joinPorts(...ports: readonly UdpPort[]): DatagramPort {
  const numbers = new Set(ports.map(({ port }) => port));
  if (numbers.size < ports.length) throw new UsageError("the ports must have different numbers");
  return {
    listen(receive) {
      for (const port of ports) port.listen(receive);
    },
    send(event: DatagramEvent) {
      for (const port of ports) {
        if (port.port === event.path.local.port) return port.send(event);
      }
      ports[0]?.send(event); // it counts that there is no such socket
      return undefined;
    },
    async close() {
      await Promise.all(ports.map((port) => port.close()));
    },
  };
}
