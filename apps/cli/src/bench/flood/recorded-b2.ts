import { EMPTY } from "@godwit/base";
import { CON, Code, encodeMessage } from "@godwit/coap";
import { systemRng } from "@godwit/io";
import { OscoreLayer, oscoreTuning, type InputParameters } from "@godwit/oscore";

/** The first message of RFC 8613 Appendix B.2, as a device with this credential would send it. */
export function recordedB2(input: InputParameters): Uint8Array {
  const layer = new OscoreLayer(oscoreTuning(), systemRng());
  const credential = { input, derivation: "negotiated", initiates: true } as const;
  layer.handle({ type: "add", session: 1, credential, carrier: 1 }, 0);
  const asked = { code: Code.GET, options: [], payload: EMPTY };
  const made = layer.protectRequest(1, asked, 0);
  if (made.kind !== "send") throw new Error(`Appendix B.2 does not begin: ${made.kind}`);
  const { code, options, payload } = made.request;
  return encodeMessage({ type: CON, code, mid: 0, token: new Uint8Array(4), options, payload });
}
