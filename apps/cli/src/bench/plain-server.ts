import { Code, CoapNode, ResourceTree, response } from "@godwit/coap";
import { Driver, systemRng, type DatagramPort } from "@godwit/io";

/** The plain CoAP server under test: one small resource, `/hello`, and what every server of ours has anyway. */
export function plainServer(port: DatagramPort): CoapNode {
  const node = new CoapNode({ rng: systemRng() });
  const world = response(Code.Content, { payload: "world" });
  const tree = new ResourceTree().add("/hello", { get: () => world });
  const driver = new Driver({
    machine: node,
    port,
    onOutput: (output) => {
      if (output.type !== "request") return;
      const { exchange } = output;
      const answer = tree.handle(output.request, exchange);
      if (answer !== undefined) driver.feed({ type: "respond", exchange, response: answer });
    },
    onFault: ({ error }) => {
      throw error;
    },
  });
  return node;
}
