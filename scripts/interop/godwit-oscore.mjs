// CoAP over UDP under one OSCORE context (RFC 8613): the machine that godwit-coap.mjs runs in the place of a plain CoapNode.
import { Outbox, earlier } from "@godwit/base";
import { CoapNode, Code, OptionNumber, findOption, formatCode, response } from "@godwit/coap";
import { OSCORE_TABLE, OscoreLayer, oscoreTuning } from "@godwit/oscore";

const SESSION = 2 ** 41;
const OUTSIDE = new Set(["add", "restore", "carrier", "renew", "park"]);

/**
 * `store`: a Map that outlives the node, as the disk outlives a process. `seen`: takes what became of each message, with the
 * inner code. Beside the inputs of a CoapNode: those of the layer, of which `renew` asks for new keys (Appendix B.2).
 */
export class ProtectedNode {
  #node;
  #layer;
  #store;
  #seen;
  #outbox = new Outbox();

  constructor({ rng, tuning, credential, store, seen = [] }) {
    this.#seen = seen;
    this.#store = store;
    this.#layer = new Watched(oscoreTuning(), rng, seen);
    this.#node = new CoapNode({ rng, tuning, protection: this.#layer });
    const record = store.get(`${OSCORE_TABLE}/${SESSION}`);
    const known =
      record === undefined ? { type: "add" } : { type: "restore", record, trusted: true };
    this.handle({ ...known, credential }, 0);
  }

  get wakeAt() {
    return earlier(this.#node.wakeAt, this.#layer.wakeAt);
  }

  /** The session that stands for the context, which is at `path` from now on. */
  connect(path, now) {
    const carrier = this.#node.connect(path, now);
    this.handle({ type: "carrier", carrier }, now);
    return SESSION;
  }

  handle(input, now) {
    if (OUTSIDE.has(input.type)) this.#layer.handle({ session: SESSION, ...input }, now);
    else this.#node.handle(input, now);
    this.#settle(now);
  }

  wake(now) {
    this.#layer.wake(now);
    this.#node.wake(now);
    this.#settle(now);
  }

  poll() {
    return this.#outbox.take();
  }

  #settle(now) {
    for (;;) {
      const output = this.#node.poll();
      if (output !== undefined) this.#fromNode(output, now);
      const beside = this.#layer.poll();
      if (beside !== undefined) this.#fromLayer(beside, now);
      if (output === undefined && beside === undefined) return;
    }
  }

  #fromNode(output, now) {
    if (output.type !== "request" || output.session === SESSION) return this.#outbox.push(output);
    // What is not protected is not served.
    const refusal = response(Code.Unauthorized);
    this.#node.handle({ type: "respond", exchange: output.exchange, response: refusal }, now);
  }

  #fromLayer(output, now) {
    switch (output.type) {
      case "store":
        for (const { table, key, value } of output.changes) {
          if (value === undefined) this.#store.delete(`${table}/${key}`);
          else this.#store.set(`${table}/${key}`, value);
        }
        return this.#layer.handle({ type: "stored", ticket: output.ticket, ok: true }, now);
      case "released":
        this.#seen.push(told(output.result));
        return this.#node.handle(
          { type: "released", exchange: output.ref, result: output.result },
          now,
        );
      case "ready":
        return this.#node.handle(output, now);
      case "moved":
        this.#node.endpoint.handle(output, now);
        return this.#node.wake(now); // which drains the endpoint
      case "established":
        this.#seen.push(`new keys, begun by ${output.by}`);
        return;
      case "dropped":
        this.#seen.push(output.reason);
        return;
      case "dead":
        throw new Error(`the context is dead: ${output.why}`);
    }
  }
}

class Watched extends OscoreLayer {
  #seen;

  constructor(tuning, rng, seen) {
    super(tuning, rng);
    this.#seen = seen;
  }

  unprotectRequest(...words) {
    return this.#note(super.unprotectRequest(...words));
  }

  unprotectResponse(...words) {
    return this.#note(super.unprotectResponse(...words));
  }

  #note(result) {
    if (result.kind !== "held") this.#seen.push(told(result));
    return result;
  }
}

function told({ kind, request, response: answer }) {
  const { code, options } = request ?? answer ?? {};
  if (code === undefined || kind === "reply") return kind; // what the layer answers itself is protected already
  const echo = findOption(options, OptionNumber.Echo) === undefined ? "" : " with Echo";
  return `${kind} ${formatCode(code)}${request === undefined ? "" : echo}`;
}
