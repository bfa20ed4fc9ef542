/** Calls `open` with a port, and with the ports above it for as long as they are taken. 0 is whatever is free. */
export async function onFreePort<T>(port: number, open: (port: number) => Promise<T>): Promise<T> {
  for (let tried = port; ; tried++) {
    try {
      return await open(tried);
    } catch (fault) {
      if (!isPortTaken(fault) || port === 0 || tried >= Math.min(port + ATTEMPTS, 0xffff))
        throw fault;
    }
  }
}

/** Whether the fault, or what caused it, is that another program has the port. */
function isPortTaken(fault: unknown): boolean {
  if (!(fault instanceof Error)) return false;
  return (fault as NodeJS.ErrnoException).code === "EADDRINUSE" || isPortTaken(fault.cause);
}

const ATTEMPTS = 20;
