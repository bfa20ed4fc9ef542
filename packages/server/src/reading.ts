import { DeviceError } from "./faults.ts";
import type { Answer, PathValue } from "./task.ts";

export type ReadValue = PathValue["value"];

/** What a notification brought. */
export type Reading = {
  readonly path: string;
  /** Of a single resource; else `null` and see `values`. */
  readonly value: ReadValue;
  readonly values: readonly PathValue[];
  /** ms since 1970. */
  readonly at: number;
};

/** @throws DeviceError for an answer that is a refusal, or that breaks its format */
export function readingOf(endpoint: string, path: string, answer: Answer, at: number): Reading {
  const what = `${path} of ${endpoint}`;
  if (!answer.success) {
    const { code, codeName, text } = answer;
    const words = text === undefined ? "" : `: ${text}`;
    throw new DeviceError("DEVICE_REFUSED", `${what}: ${code} ${codeName ?? ""}${words}`, code);
  }
  if (answer.fault !== undefined) {
    throw new DeviceError("ANSWER_FORMAT", `${what}: ${answer.fault}`);
  }
  const values = answer.values ?? [];
  const own = values.find((value) => value.path === path);
  return { path, value: own?.value ?? null, values, at };
}
