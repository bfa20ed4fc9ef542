/** 0 to 255: one of the parts of all ids. A single server owns all of them. */
export type SlotId = number;

/**
 * The number of a session, an operation or an observation: slot · 2^45 + serial. Below 2^53, stored in 7 bytes (`u56`), never
 * given out twice, restarts or not. Its only meaning is its slot. Lasts 11 years at 100 000 per second and slot.
 */
export type SlottedId = number;

export const SERIALS_PER_SLOT: number = 2 ** 45;

export function slotOf(id: SlottedId): SlotId {
  return Math.floor(id / SERIALS_PER_SLOT);
}
