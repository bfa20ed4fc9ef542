// Godwit's DTLS alone, over the public interface of its package: an echo server and a client.
import { DtlsClient, DtlsServer } from "@godwit/dtls";
import { Driver, memoryStore, openUdp, systemRng } from "@godwit/io";

/** Echoes what it receives. `next` gives what happened: see `Talk`. */
export async function startEcho(bench, { key }) {
  const machine = new DtlsServer({
    rng: systemRng(),
    credentials: { psk: true, certificates: [], clientCertificates: [] },
  });
  const talk = await Talk.open(bench, machine, ({ type, id, lookup, session, bytes }) => {
    if (type === "lookup" && lookup.kind === "psk") talk.feed({ type: "psk", id, key });
    if (type === "lookup" && lookup.kind === "resume")
      talk.feed({ type: "verdict", id, verdict: { ok: true } });
    if (type === "received") talk.feed({ type: "send", session, bytes });
  });
  return talk;
}

/** `cid`: asks for a connection id and needs none itself. */
export async function startClient(bench, { port, identity, key, cid = false }) {
  const machine = new DtlsClient({
    rng: systemRng(),
    credentials: { kind: "psk", identity, key },
    ...(cid && { connectionId: new Uint8Array(0) }),
  });
  const talk = await Talk.open(bench, machine);
  const path = { local: talk.local, remote: { host: "127.0.0.1", port } };
  /** Begins a handshake; how it ended. */
  const connect = async (how) => {
    talk.feed({ type: "connect", session: SESSION, path, how });
    return talk.next("opened");
  };
  const send = (text) => talk.feed({ type: "send", session: SESSION, bytes: Buffer.from(text) });
  const receive = async () => String(Buffer.from((await talk.next("received")).bytes));
  const ask = (text) => {
    send(text);
    return receive();
  };
  return { connect, send, receive, ask };
}

const SESSION = 1;

/** A machine on a socket of its own. */
class Talk {
  #heard = [];
  #wake = () => {};
  #driver;
  #udp;

  static async open(bench, machine, onOutput = () => {}) {
    const talk = new Talk();
    talk.#udp = await openUdp({ host: "127.0.0.1", port: 0 });
    talk.#driver = new Driver({
      machine,
      port: talk.#udp,
      store: memoryStore(),
      onOutput: (output) => {
        onOutput(output);
        talk.#heard.push(output);
        talk.#wake();
      },
      onFault: ({ error }) => console.error(error),
    });
    bench.after(() => talk.#driver.close());
    return talk;
  }

  get local() {
    return this.#udp.local[0];
  }

  get port() {
    return this.local.port;
  }

  feed(input) {
    this.#driver.feed(input);
  }

  /** The next output of this type; those before it are gone. */
  async next(type, timeout = 10_000) {
    const deadline = Date.now() + timeout;
    const passed = [];
    for (;;) {
      for (let one = this.#heard.shift(); one !== undefined; one = this.#heard.shift()) {
        if (one.type === type) return one;
        passed.push(one.type === "failed" ? one.why : one.type);
      }
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`not ${type}, but: ${passed.join(", ")}`);
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
