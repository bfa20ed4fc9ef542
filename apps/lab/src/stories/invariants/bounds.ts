// How long what must happen may take, in ms.

/**
 * From when a device has all it needs until it is registered and observed again: the longest wait before another handshake (an
 * hour and a quarter), the longest wait before another Update or Register (19 minutes), and one retransmission of each.
 */
export const RECOVERY = 7_200_000;

/** From a change of what is observed until the server passes it on, once all is well: a handshake before it, and MAX_TRANSMIT_WAIT. */
export const NOTIFIED = 300_000;

/** Nothing expires sooner after a start: the clock may have been stepped, and devices could not speak. */
export const RESTART_GRACE = 300_000;

/** From when the disk has room again until all is written that it refused. */
export const WRITTEN = 10_000;

/** From when an operation expires until its user is told, while the server runs. */
export const ENDED = 60_000;
