import type { Task } from "./task.ts";

/**
 * An order that did not succeed. `reason`: `refused` (see `code`), `failed`, `expired`, `cancelled`, or what was wrong
 * with the answer: `format`, `values`.
 */
export class DeviceError extends Error {
  override readonly name = "DeviceError";
  readonly reason: "refused" | "failed" | "expired" | "cancelled" | "format" | "values";
  /** The CoAP code of the refusal, such as "4.05". */
  readonly code: string | undefined;

  constructor(reason: DeviceError["reason"], message: string, code?: string) {
    super(message);
    this.reason = reason;
    this.code = code;
  }

  static of(task: Task): DeviceError {
    const what = `${task.operation} ${task.path} of ${task.endpoint}`;
    if (task.answer !== undefined) {
      const { code, codeName, text } = task.answer;
      const words = text === undefined ? "" : `: ${text}`;
      return new DeviceError("refused", `${what}: ${code} ${codeName ?? ""}${words}`, code);
    }
    if (task.state === "expired") {
      return new DeviceError("expired", `${what}: the device was not reached in time`);
    }
    if (task.state === "cancelled") return new DeviceError("cancelled", `${what}: cancelled`);
    return new DeviceError("failed", `${what}: ${task.reason ?? task.state}`);
  }
}
