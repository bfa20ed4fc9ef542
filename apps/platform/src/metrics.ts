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
  const refused = counter("refusals_total", "Registration requests refused", ["code"]);
  const dropped = counter("dropped_total", "Messages thrown away", ["reason"]);
  const handshakes = counter("handshakes_failed_total", "DTLS handshakes that came to nothing");
  const tasks = counter("lwm2m_requests_total", "Orders to devices that ended", ["op", "result"]);
  const notifications = counter("notifications_total", "Notifications received");
  const faults = counter("faults_total", "Faults of our own or of the store");

  const stops = [
    server.on("registered", () => registered.inc()),
    server.on("updated", ({ moved }) => (moved ? updatedMoved : updatedInPlace).inc()),
    server.on("deregistered", ({ why }) => ended.inc({ why })),
    server.on("refused", ({ code }) =>
      refused.inc({ code: `${code >> 5}.${String(code & 31).padStart(2, "0")}` }),
    ),
    server.on("dropped", ({ reason }) => dropped.inc({ reason })),
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
