// What the OSCORE cases share: the credential, and each side's memory of its context, which outlives the processes of a case.
import { equal, ok } from "node:assert/strict";

export const SECRET = "0102030405060708090a0b0c0d0e0f10";
export const SALT = "9e7ca92223786340";
/** An ID Context that both sides were given, for Appendix B.2 that the server begins. */
export const ID_CONTEXT = "37cbf3210017a2d3";
/** Sender IDs. */
export const OURS = "aa";
export const THEIRS = "01";

/** `derivation`, `initiates`: see `Credential` of @godwit/oscore. `mirrored`: for the other end, where that is ours too. */
export function credentialOf({
  derivation = "fixed",
  initiates = false,
  idContext,
  mirrored = false,
} = {}) {
  const [senderId, recipientId] = mirrored ? [THEIRS, OURS] : [OURS, THEIRS];
  return {
    input: {
      senderId: Buffer.from(senderId, "hex"),
      recipientId: Buffer.from(recipientId, "hex"),
      masterSecret: Buffer.from(SECRET, "hex"),
      masterSalt: Buffer.from(SALT, "hex"),
      ...(idContext && { idContext: Buffer.from(idContext, "hex") }),
    },
    derivation,
    initiates,
  };
}

/** What a case's processes share. */
export const perBench = (make) => {
  const made = new WeakMap();
  return (bench) => {
    if (!made.has(bench)) made.set(bench, make(bench));
    return made.get(bench);
  };
};

/** The context of a bench, as ProtectedNode takes it; `seen` takes what became of each message. */
export const protectionUnder = (options) =>
  perBench(() => ({ credential: credentialOf(options), store: new Map(), seen: [] }));

/** No message that ever failed to verify, and at least one that did. */
export function clean(cases, kind, protectionOf) {
  return cases.map((one) => ({
    ...one,
    async run(bench) {
      await one.run(bench);
      const { seen } = protectionOf(bench);
      ok(
        seen.some((what) => what.startsWith(kind)),
        `a ${kind} that was verified, not ${seen}`,
      );
      verified(seen);
    },
  }));
}

/** Nothing among it that failed to verify. */
export function verified(seen) {
  equal(seen.filter((what) => /forged|malformed|bad|unprotected/i.test(what)).join(), "");
}
