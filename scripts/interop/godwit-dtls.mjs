// Godwit's DTLS alone, over the public interface of its package: an echo server and a client.
import { DtlsClient, DtlsServer, judgeChain } from "@godwit/dtls";
import { Driver, memoryStore, openUdp, systemRng } from "@godwit/io";

/**
 * Echoes what it receives. `next` gives what happened: see `Talk`. `key`: of every identity. `certificates`: what it shows;
 * `anchors`: roots of the certificates that it wants to see, raw public keys being all good. `tuning`: of DTLS. `tickets`:
 * gives them to clients that want one.
 */
export async function startEcho(
  bench,
  { key, certificates = [], anchors = [], tuning = {}, tickets = false },
) {
  const machine = new DtlsServer({
    rng: systemRng(),
    credentials: {
      psk: key !== undefined,
      certificates,
      clientCertificates: certificates.length > 0 ? ["rpk", "x509"] : [],
    },
    tuning,
    tickets,
  });
  const talk = await Talk.open(bench, machine, ({ type, id, lookup, session, bytes }) => {
    if (type === "lookup" && lookup.kind === "psk") talk.feed({ type: "psk", id, key });
    else if (type === "lookup") {
      talk.feed({ type: "verdict", id, verdict: judge(lookup, anchors, { purpose: "client" }) });
    }
    if (type === "received") talk.feed({ type: "send", session, bytes });
  });
  return talk;
}

/**
 * By `identity` and `key`, or by `certificate`; the server then shows a bare public key, which is as good as any, or a
 * certificate under `anchors` for `name`. `tickets`: asks for one. `cid`: asks for a connection id and needs none itself.
 */
export async function startClient(
  bench,
  {
    port,
    identity,
    key,
    certificate,
    anchors = [],
    name,
    suites,
    tuning = {},
    tickets = false,
    cid = false,
  },
) {
  const machine = new DtlsClient({
    rng: systemRng(),
    credentials:
      certificate === undefined
        ? { kind: "psk", identity, key }
        : { kind: "certificate", certificate, serverCertificates: [certificate.kind] },
    tuning,
    tickets,
    ...(suites && { suites }),
    ...(name && { serverName: name }),
    ...(cid && { connectionId: new Uint8Array(0) }),
  });
  const talk = await Talk.open(bench, machine, ({ type, id, lookup }) => {
    if (type !== "lookup") return;
    const verdict = judge(lookup, anchors, { purpose: "server", ...(name && { name }) });
    talk.feed({ type: "verdict", id, verdict });
  });
  const path = { local: talk.local, remote: { host: "127.0.0.1", port } };
  /** Begins a handshake; how it ended. */
  const connect = async (how) => {
    talk.feed({ type: "connect", session: SESSION, path, how });
    return talk.next("opened");
  };
  /** Begins a handshake that comes to nothing; why. */
  const fail = async () => {
    talk.feed({ type: "connect", session: SESSION, path, how: "full" });
    return (await talk.next("failed")).why;
  };
  const send = (text) => talk.feed({ type: "send", session: SESSION, bytes: Buffer.from(text) });
  const receive = async () => String(Buffer.from((await talk.next("received")).bytes));
  const ask = (text) => {
    send(text);
    return receive();
  };
  const sendBytes = (bytes) => talk.feed({ type: "send", session: SESSION, bytes });
  const receiveBytes = async () => (await talk.next("received")).bytes;
  /** What was received, "closed" where the server ended the session, undefined where nothing came in time. */
  const hear = (timeout) => talk.hear(timeout);
  const close = () => talk.feed({ type: "close", session: SESSION });
  return { connect, fail, close, send, receive, ask, sendBytes, receiveBytes, hear };
}

function judge({ kind, certificate }, anchors, rules) {
  if (kind === "resume" || certificate.kind === "rpk") return { ok: true };
  return judgeChain(certificate.chain, { anchors, wall: Date.now(), ...rules });
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

  async hear(timeout) {
    const deadline = Date.now() + timeout;
    for (;;) {
      for (let one = this.#heard.shift(); one !== undefined; one = this.#heard.shift()) {
        if (one.type === "received") return one.bytes;
        if (one.type === "closed") return "closed";
      }
      const left = deadline - Date.now();
      if (left <= 0) return undefined;
      await this.#change(left);
    }
  }

  #change(left) {
    return new Promise((done) => {
      const timer = setTimeout(done, left);
      this.#wake = () => {
        clearTimeout(timer);
        done();
      };
    });
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
      await this.#change(left);
    }
  }
}
