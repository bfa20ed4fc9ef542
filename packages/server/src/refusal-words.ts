import type { RefusedFor } from "./refusals.ts";

/** What was wrong, where nothing more exact is known than the reason. */
export const RULES: Readonly<Partial<Record<RefusedFor, string>>> = {
  unknownIdentity: "no credential has this PSK identity",
  wrongKey: "the key of this PSK identity is another one than the peer used",
  noSec: "NoSec is switched off, and the peer has proven nothing",
  endpointHasCredentials: "this endpoint has credentials, and the peer has proven nothing",
  noEndpoint: "the credential belongs to no endpoint any more",
  notRegistered: "there is no such registration in this session",
  unknownContext: "no OSCORE credential has this sender id and ID Context",
  forged: "the message does not verify under the keys of this OSCORE credential",
  badOption: "the OSCORE option cannot be read",
};

/** All that somebody is refused for, by name. */
export function refusalReasons(): readonly [RefusedFor, ...RefusedFor[]] {
  return Object.keys(ADVICE).toSorted() as [RefusedFor, ...RefusedFor[]]; // it has them all
}

/** What somebody can do about it. */
export const ADVICE: Readonly<Record<RefusedFor, string>> = {
  unknownIdentity:
    "Add a credential with this identity (godwit credentials add), or correct the identity in the device.",
  wrongKey:
    "Compare the keys: add the credential again with the device's key, or give the device this key.",
  notAdmitted:
    "Add a credential for this key or certificate (godwit credentials add), or name its root with --coaps-ca.",
  noAnswer:
    "The device fell silent: look at its network, and at its own log. If it says that we do not answer, our answers are lost.",
  alert:
    "The device ended the handshake: its own log says why. The alert's name says what it did not like.",
  protocol:
    "The device speaks DTLS in a way that cannot be answered: compare its versions and cipher suites.",
  badRequest: "Correct the request in the device: the rule says what is wrong with it.",
  noSec:
    "Give the device a credential (godwit credentials add) and coaps://, or switch NoSec on with --nosec in a lab.",
  endpointHasCredentials:
    "Let the device use its credential, over coaps:// or OSCORE; or remove the credential if it is not wanted any more.",
  endpointMismatch:
    "Correct the endpoint name in the device, or add the credential for the name that it uses.",
  noEndpoint: "Add the credential again if the device shall come in.",
  notRegistered: "Nothing: a device registers anew after this answer.",
  unknownProfile:
    "Nothing, if the device then sends its object list; else switch its profile ids off.",
  endpointTaken:
    "Two devices use one name, or somebody else does: give each its own, and credentials so that nobody can take it.",
  busy: "Nothing: the device tries again after the time it was told.",
  full: "The limit of registrations is reached: remove devices, or raise maxRegistrations.",
  storage: "Look at the server's disk: room, permissions, and the log.",
  unknownContext:
    "Add an OSCORE credential with the device's ids, or correct them in the device. The device's sender id is the server's recipient id.",
  forged:
    "Compare master secret, master salt, ID Context and algorithms of this credential with the device's. If they are right, two devices may use one context, which must never be (RFC 8613 3.3): give each its own.",
  badOption: "Correct the OSCORE implementation of the device.",
};
