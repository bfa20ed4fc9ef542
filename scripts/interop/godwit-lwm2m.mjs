// Godwit's LwM2M server as the cases need it, over the public interface of @godwit/server.
import { MasterKey } from "@godwit/io";
import { Server } from "@godwit/server";

/** `credentials`: of devices that come in by DTLS; the server then listens on `securePort` too, with `dtls` as it is set. */
export async function startServer(bench, { credentials = [], dtls } = {}) {
  const server = new Server({
    coap: "127.0.0.1:0",
    nosec: true,
    sealer: new MasterKey(new Uint8Array(32).fill(7)),
    ...(credentials.length > 0 && { coaps: "127.0.0.1:0" }),
    ...(dtls && { dtls }),
  });
  const heard = new Hearing(server);
  await server.start();
  bench.after(() => server.close());
  for (const one of credentials) await server.addCredential(one);
  const [port, securePort] = [server.addresses, server.secureAddresses].map((all) =>
    Number(all[0]?.split(":").at(-1)),
  );
  return { server, heard, port, securePort };
}

/** What the server told, for a case to wait on; each event is told once. */
class Hearing {
  #events = [];
  #wake = () => {};

  constructor(server) {
    for (const name of ["registered", "updated", "deregistered", "refused", "fault"]) {
      server.on(name, (event) => {
        this.#events.push({ name, event });
        this.#wake();
      });
    }
  }

  /** The next event of this name, and with it all before it are gone. */
  async next(name, timeout = 10_000) {
    const deadline = Date.now() + timeout;
    const passed = [];
    for (;;) {
      for (let one = this.#events.shift(); one !== undefined; one = this.#events.shift()) {
        if (one.name === name) return one.event;
        passed.push(one);
      }
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`not ${name}, but: ${JSON.stringify(passed)}`);
      await new Promise((done) => {
        const timer = setTimeout(done, left);
        this.#wake = () => {
          clearTimeout(timer);
          done();
        };
      });
    }
  }
}
