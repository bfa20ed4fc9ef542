import { createSocket, type Socket, type SocketOptions } from "node:dgram";

/** A UDP socket at an address of this host. Undefined where this process may open no more files. */
export async function bindAt(
  host: string,
  receive: (bytes: Uint8Array) => void,
): Promise<Socket | undefined> {
  const socket = createSocket({
    type: "udp4",
    // Addresses are numbers already.
    lookup: (address: string, _options: unknown, found: Found) => found(null, address, 4),
  } as SocketOptions);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind({ port: 0, address: host }, resolve);
    });
  } catch (error) {
    socket.close();
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EMFILE" || code === "ENFILE") return undefined;
    throw error;
  }
  socket.removeAllListeners("error");
  socket.on("error", () => {}); // a server that is gone answers with ICMP; who waits finds out
  socket.on("message", receive);
  return socket;
}

type Found = (error: null, address: string, family: number) => void;

export const SERVER = "127.0.0.1";
