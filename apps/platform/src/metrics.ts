import type { Server } from "@godwit/server";
import { Counter, Gauge, Registry, collectDefaultMetrics } from "prom-client";

/** Prometheus figures; no endpoint names in labels. */
export function metrics(server: Server): {
  readonly registry: Registry;
  readonly stop: () => void;
} {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: "godwit_" });
  const registers = [registry];
  const counter = <L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[] = [],
  ): Counter<L> =>
    new Counter({ name: `godwit_${name}`, help, labelNames: [...labelNames], registers });

  /** A counter of what strangers may make happen as often as they like: its labels are looked at when somebody reads it. */
  const tally = <T extends string | number>(
    name: string,
    help: string,
    label: string,
    labelled: (value: T) => string,
  ): ((value: T) => void) => {
    const counts = new Map<T, { times: number }>();
    void new Counter({
      name: `godwit_${name}`,
      help,
      labelNames: [label],
      registers,
      collect() {
        this.reset();
        for (const [value, { times }] of counts) this.inc({ [label]: labelled(value) }, times);
      },
    });
    return (value) => {
      const counted = counts.get(value);
      if (counted === undefined) counts.set(value, { times: 1 });
      else counted.times += 1;
    };
  };

  void new Gauge({
    name: "godwit_registrations",
    help: "Registered devices",
    registers,
    collect() {
      this.set(server.deviceCount);
    },
  });
  void new Gauge({
    name: "godwit_udp_kernel_drops",
    help: "Datagrams the kernel threw away because the receive buffer was full",
    registers,
    collect() {
      this.set(server.kernelDrops ?? 0);
    },
  });
  void new Gauge({
    name: "godwit_strays",
    help: "What was thrown away since the start and belongs to no device",
    labelNames: ["reason"],
    registers,
    collect() {
      for (const [reason, times] of Object.entries(server.strays)) this.set({ reason }, times);
    },
  });
  void new Gauge({
    name: "godwit_quarantined_records",
    help: "Records of the store that could not be restored: set aside, or left in place where there was no room",
    labelNames: ["where"],
    registers,
    collect() {
      const { items, leftInPlace } = server.quarantine;
      this.set({ where: "quarantine" }, items.length);
      this.set({ where: "place" }, leftInPlace);
    },
  });
  void new Gauge({
    name: "godwit_store_working",
    help: "1 while the store takes writes, 0 while it refuses them",
    registers,
    collect() {
      this.set(server.storeHealth.state === "working" ? 1 : 0);
    },
  });
  void new Counter({
    name: "godwit_store_refusals_total",
    help: "Writes that the store refused",
    registers,
    collect() {
      this.reset();
      this.inc(server.storeRefusals);
    },
  });
  const registered = counter("registrations_total", "Register operations that succeeded");
  const updated = counter("updates_total", "Update operations that succeeded", ["moved"]);
  const updatedMoved = updated.labels("true");
  const updatedInPlace = updated.labels("false");
  const ended = counter("registrations_ended_total", "Registrations that ended", ["why"]);
  const refused = tally("refusals_total", "Registration requests refused", "code", codeOf);
  void new Counter({
    name: "godwit_not_admitted_total",
    help: "Devices that were not let in",
    labelNames: ["stage", "reason"],
    registers,
    collect() {
      this.reset();
      for (const { stage, reason, times } of server.refusalCounts)
        this.inc({ stage, reason }, times);
    },
  });
  const dropped = tally("dropped_total", "Messages thrown away", "reason", String);
  const handshakes = counter("handshakes_failed_total", "DTLS handshakes that came to nothing");
  const tasks = counter("lwm2m_requests_total", "Orders to devices that ended", ["op", "result"]);
  const notifications = counter("notifications_total", "Notifications received");
  const faults = counter("faults_total", "Faults of our own or of the store");

  const stops = [
    server.on("registered", () => registered.inc()),
    server.on("updated", ({ moved }) => (moved ? updatedMoved : updatedInPlace).inc()),
    server.on("deregistered", ({ why }) => ended.inc({ why })),
    server.on("refused", ({ code }) => refused(code)),
    server.on("dropped", ({ reason }) => dropped(reason)),
    server.on("handshakeFailed", () => handshakes.inc()),
    server.on("task", ({ task }) => {
      if (task.endedAt !== undefined) tasks.inc({ op: task.operation, result: task.state });
    }),
    server.on("notification", () => notifications.inc()),
    server.on("fault", () => faults.inc()),
  ];
  return {
    registry,
    stop: () => {
      for (const stop of stops) stop();
    },
  };
}

/** "4.03" */
function codeOf(code: number): string {
  return `${code >> 5}.${String(code & 31).padStart(2, "0")}`;
}
