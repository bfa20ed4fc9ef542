import { FormatError } from "@godwit/base";
import { Alert } from "./codes.ts";

/** The peer's handshake cannot go on; `alert` tells it why. */
export class Refusal extends FormatError {
  readonly alert: number;

  constructor(alert: number, why: string) {
    super(why);
    this.alert = alert;
  }
}

/** Ends the handshake unless `condition` holds. */
export function demand(condition: boolean, alert: number, why: string): asserts condition {
  if (!condition) throw new Refusal(alert, why);
}

/** The alert for whatever went wrong while reading a message. */
export function alertFor(error: FormatError): number {
  return error instanceof Refusal ? error.alert : Alert.decodeError;
}
