import { sourceOf, type RefusalView, type Server } from "@godwit/server";
import type { Logger } from "pino";
import { nameAlerts } from "./alert-words.ts";
import type { LimitedLog } from "./limited-log.ts";

/** Writes down what a server tells. What others can cause as often as they like goes through `limited`. */
export function logEvents(server: Server, log: Logger, limited: LimitedLog): void {
  server.on("note", ({ text }) => log.info(text));
  server.on("fault", ({ fault }) => logFault(fault, limited));
  server.on("registered", ({ device, replaced }) => {
    const { endpoint, address, lifetime } = device;
    const fields = { endpoint, address, lifetime, replaced };
    const message = "registered";
    limited.write({ level: "info", reason: message, source: endpoint, fields, message }, FLEET);
  });
  server.on("deregistered", ({ endpoint, why }) => {
    const fields = { endpoint, why };
    const message = "deregistered";
    limited.write({ level: "info", reason: message, source: endpoint, fields, message }, FLEET);
  });
  server.on("observationSilent", (fields) => {
    const reason = "observation is silent";
    const message = "the device speaks, but does not report what it observes";
    limited.write({ level: "warn", reason, source: fields.endpoint, fields, message });
  });
  logQuarantine(server, log);
  logRefusals(server, limited);
  if (!log.isLevelEnabled("debug")) return;
  server.on("updated", ({ device, moved }) => {
    log.debug({ endpoint: device.endpoint, moved }, "updated");
  });
}

/** Who is not let in. In a flood most are only counted, and no event: what the log leaves out is taken from the counts. */
function logRefusals(server: Server, limited: LimitedLog): void {
  const told = new Map<string, number>();
  const messageOf = (stage: RefusalView["stage"]): string =>
    stage === "handshake" ? "handshake failed" : "refused";
  server.on("refusal", ({ stage, reason, code, endpoint, identity, address, rule, advice }) => {
    told.set(reason, (told.get(reason) ?? 0) + 1);
    const fields = { reason, code, endpoint, identity, address, rule: nameAlerts(rule), advice };
    limited.write({
      level: "warn",
      reason,
      source: sourceOf(address),
      fields,
      message: messageOf(stage),
    });
  });
  limited.beforeFlush(() => {
    for (const { stage, reason, times } of server.refusalCounts) {
      const rest = times - (told.get(reason) ?? 0);
      told.set(reason, times);
      if (rest > 0) limited.leaveOut({ level: "warn", reason, message: messageOf(stage) }, rest);
    }
  });
}

/** Records that the start has set aside. */
function logQuarantine(server: Server, log: Logger): void {
  let setAside = 0;
  server.on("quarantined", (record) => {
    setAside += 1;
    if (setAside <= NAMED_RECORDS) log.error(record, "a stored record was set aside");
    else if (setAside === NAMED_RECORDS + 1)
      log.error("more stored records were set aside: GET /api/v1/quarantine shows all");
  });
}

/** Somebody tried a wrong password on the page or the API. */
export function logGuess(address: string, limited: LimitedLog): void {
  const reason = "wrongPassword";
  const fields = { reason, address };
  const source = sourceOf(address);
  limited.write({ level: "warn", reason, source, fields, message: "wrong password" });
}

/** A fault of ours may come with each datagram: the first of a kind are written with their stacks. */
function logFault(fault: Error, limited: LimitedLog): void {
  const { message } = fault;
  limited.write({ level: "error", reason: message, source: "", fields: { err: fault }, message });
}

/** Lines a minute: of one device, and of all. */
const FLEET = { perSource: 5, perReason: 600 };
/** Records that a start has set aside and names in the log. */
const NAMED_RECORDS = 100;
