import type { Rng } from "@godwit/base";
import type { OscoreCredential, ServerProtection } from "@godwit/lwm2m";
import {
  KeySource,
  OSCORE_TABLE,
  OscoreLayer,
  oscoreTuning,
  type Credential,
  type OscoreTuning,
} from "@godwit/oscore";

/** OSCORE for a server: what its stack takes as `protection`. */
export function oscoreProtection(
  rng: Rng,
  tuning: Partial<OscoreTuning> = {},
): ServerProtection<Credential> {
  return {
    // Peers without Echo are heard again after a crash; a server has the disk for it.
    layer: new OscoreLayer(oscoreTuning({ maxWindowStride: MAX_WINDOW_STRIDE, ...tuning }), rng),
    credentialOf: contextOf,
    table: OSCORE_TABLE,
  };
}

/** OMA TS Transport 5.5.3: the client begins Appendix B.2; the server asks for it where its keys are lost. */
function contextOf(credential: OscoreCredential): Credential {
  const { senderId, recipientId, masterSecret, masterSalt, idContext, aead, hkdf, derivation } =
    credential;
  const input = {
    senderId,
    recipientId,
    masterSecret,
    ...(masterSalt === undefined ? {} : { masterSalt }),
    ...(idContext === undefined ? {} : { idContext }),
    ...(aead === undefined ? {} : { aead }),
    ...(hkdf === undefined ? {} : { hkdf }),
  };
  void new KeySource(input); // names what cannot be
  return { input, derivation, initiates: false };
}

const MAX_WINDOW_STRIDE = 1_024;
