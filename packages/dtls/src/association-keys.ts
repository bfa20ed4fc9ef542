import { type Keying, type Path, byNumber, hashText } from "@godwit/base";
import type { Association } from "./association.ts";
import { hashLatin1, isLatin1 } from "./latin1.ts";
import { hashPath, samePath } from "./path-claim.ts";
import { identityKey } from "./saved-session.ts";

export const BY_SESSION: Keying<number, Association> = byNumber(({ session }) => session);
// Only who has proven an identity is found by these two, so nobody can fill them with keys of his choice.
export const BY_PATH: Keying<Path | undefined, Association> = {
  keyOf: ({ path }) => path,
  hash: (path) => (path === undefined ? 0 : hashPath(path)),
  same: (a, b) => b !== undefined && samePath(a, b),
};
/**
 * They are random, and ours, and all of one length. Looked for as they come, without making a string of each, and without a
 * look at the id where the hash has all of it.
 */
export const BY_CID: Keying<string | Uint8Array, Association> = {
  keyOf: ({ ownCid }) => ownCid,
  hash: hashLatin1,
  same: (a, b) => b.length <= 4 || (typeof b === "string" ? a === b : isLatin1(a, b)),
};
export const BY_IDENTITY: Keying<string, Association> = {
  keyOf: ({ identity }) => identityKey(identity),
  hash: (key) => hashText(key),
  same: (a, b) => a === b,
};
