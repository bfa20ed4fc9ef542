import { EMPTY, FormatError, type Rng } from "@godwit/base";

/** A random connection id that `isTaken` does not know; byte 0 is `nodeId` where given. Throws FormatError if there is none left. */
export function drawCid(
  rng: Rng,
  length: number,
  nodeId: number | undefined,
  isTaken: (cid: Uint8Array) => boolean,
): Uint8Array {
  if (length === 0) return EMPTY;
  for (let tries = 0; tries < CID_TRIES; tries++) {
    const cid = rng.bytes(length);
    if (nodeId !== undefined) cid[0] = nodeId;
    if (!isTaken(cid)) return cid;
  }
  throw new FormatError("no connection id left"); // ends this one handshake; a longer id is a matter of tuning
}

const CID_TRIES = 10;
