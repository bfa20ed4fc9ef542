import { Values } from "../simulation/values.ts";
import type { Step, StrategyName } from "./row.ts";

/** UDP payload bytes as published by IoTerop, "Connection-less Transport Management for Long Run Sessions". */
export function publishedBytes(strategy: StrategyName, step: Step): number | null {
  return BYTES[strategy][step] ?? null;
}

/** The published example: what its device registers, and how often it speaks. */
export const EXAMPLE = {
  endpoint: "urn:imei:1234567890",
  /** s; of the lifetime, the keep-alive and the NAT's memory alike. */
  seconds: 120,
  /** Characters of the registration id in its Location-Path, `/rd/1234`. */
  locationLength: 4,
  versions: { 3: "1.1" },
} as const;

/** `</1/0>;ver=1.1,</3/0>;ver=1.1,</5/0>,</3303/0>`; the device brings /1 itself. */
export function exampleValues(): Values {
  return new Values({ "/3/0/9": 87, "/5/0/3": 0, "/3303/0/5700": 21.5 });
}

const BYTES: Readonly<Record<StrategyName, Partial<Record<Step, number>>>> = {
  udp: { register: 102 + 13, update: 13 + 5 },
  // 601 for the handshake, and 18 for an Update that the article counts without its records.
  "dtls12-resume": { resume: 619 },
  "dtls12-cid": { establish: 746, register: 242, update: 130 },
  "dtls13-cid": {},
  oscore: { register: 359, update: 65 },
};
