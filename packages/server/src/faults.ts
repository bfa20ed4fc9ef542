import type { Task } from "./task.ts";

/** An operation that did not succeed: the device refused it, or was not reached, or its answer is not what was asked for. */
export class DeviceError extends Error {
  override readonly name = "DeviceError";
  /** Stays the same from release to release. */
  readonly code: DeviceErrorCode;
  /** The CoAP code of a device's refusal, such as "4.05". */
  readonly coapCode: string | undefined;

  constructor(code: DeviceErrorCode, message: string, coapCode?: string) {
    super(message);
    this.code = code;
    this.coapCode = coapCode;
  }

  /** What became of a task that did not succeed. */
  static of(task: Task): DeviceError {
    const what = `${task.operation} ${task.path} of ${task.endpoint}`;
    if (task.answer !== undefined) {
      const { code, codeName, text } = task.answer;
      const words = text === undefined ? "" : `: ${text}`;
      return new DeviceError("DEVICE_REFUSED", `${what}: ${code} ${codeName ?? ""}${words}`, code);
    }
    if (task.state === "expired") {
      return new DeviceError("OPERATION_EXPIRED", `${what}: the device was not reached in time`);
    }
    if (task.state === "cancelled") {
      return new DeviceError("OPERATION_CANCELLED", `${what}: cancelled`);
    }
    return new DeviceError(codeOfFailed(task), `${what}: ${task.reason ?? task.state}`);
  }
}

/** Why a task failed that has no answer. */
export function codeOfFailed({ notAccepted, notObserved }: Task): DeviceErrorCode {
  if (notObserved === true) return "NOT_OBSERVED";
  if (notAccepted === undefined) return "OPERATION_FAILED";
  return notAccepted === "limit" ? "OPERATION_LIMIT" : "STORE_REFUSED";
}

export const DEVICE_ERROR_CODES = [
  "DEVICE_REFUSED",
  "OPERATION_EXPIRED",
  "OPERATION_CANCELLED",
  "OPERATION_FAILED",
  "OPERATION_LIMIT",
  "STORE_REFUSED",
  "NOT_OBSERVED",
  "ANSWER_FORMAT",
  "ANSWER_VALUES",
] as const;

export type DeviceErrorCode = (typeof DEVICE_ERROR_CODES)[number];

/** The server itself cannot do it. */
export class ServerError extends Error {
  override readonly name = "ServerError";
  /** Stays the same from release to release. */
  readonly code: ServerErrorCode;
  /** By which an HTTP API answers it. */
  readonly statusCode: number;
  /** Whether its words are for who asked. */
  readonly expose = true;

  constructor(code: ServerErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.statusCode = code === "STORE_REFUSED" || code === "SERVER_CLOSED" ? 503 : 500;
  }
}

export const SERVER_ERROR_CODES = [
  "SERVER_CLOSED",
  "UNKNOWN_TASK",
  "STORE_REFUSED",
  "KEY_UNREADABLE",
  "MACHINE_FAULT",
] as const;

export type ServerErrorCode = (typeof SERVER_ERROR_CODES)[number];
