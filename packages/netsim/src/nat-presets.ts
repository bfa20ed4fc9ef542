import { RFC4787, type NatSettings } from "./nat-settings.ts";

/** NAT boxes of the field by name. `double-nat` and `aws-nlb` are more than one box: see World.nat and World.balancer. */
export type NatPresetName =
  | "rfc4787"
  | "linux-home"
  | "linux-random"
  | "cgn-block"
  | "cellular-12s"
  | "azure-5g"
  | "no-inbound-refresh"
  | "port-overload";

/** The settings of a named NAT, with what `overrides` says otherwise. */
export function natPreset(name: NatPresetName, overrides: Partial<NatSettings> = {}): NatSettings {
  return { ...PRESETS[name], ...overrides };
}

/** One case of a sweep: settings, and what happens to the box once its hosts are connected. */
export type SweepCase = {
  readonly name: string;
  readonly settings: NatSettings;
  readonly event: "none" | "new-address" | "restart";
};

/** Idle timers seen in the field, crossed with mapping, port preservation, a new public address and a restart. */
export function natSweep(base: NatSettings = natPreset("azure-5g")): readonly SweepCase[] {
  const cases: SweepCase[] = [];
  for (const seconds of IDLE_TIMERS)
    for (const mapping of ["EIM", "APDM"] as const)
      for (const ports of ["preserve", "random"] as const)
        for (const event of ["none", "new-address", "restart"] as const)
          cases.push({
            name: `${seconds} s, ${mapping}, ${ports}, ${event}`,
            settings: { ...base, mapping, ports, oneWay: seconds * 1_000, twoWay: seconds * 1_000 },
            event,
          });
  return cases;
}

const IDLE_TIMERS = [12, 30, 35, 65, 120, 180, 300];

/** Linux conntrack with NAT: 30 s, 120 s for flows that are still two-way after 2 s. */
const LINUX: NatSettings = {
  ...RFC4787,
  mapping: "APDM",
  filtering: "APDF",
  portScope: "flow",
  oneWay: 30_000,
  twoWay: 120_000,
  streamAfter: 2_000,
  refreshBy: "flow",
  hairpin: "none",
};

/** Carrier boxes: a port for each flow, closed to all others. */
const CARRIER: NatSettings = {
  ...RFC4787,
  mapping: "APDM",
  filtering: "APDF",
  ports: "random",
  portRange: [1_024, 65_535],
  hairpin: "none",
};

const PRESETS: Readonly<Record<NatPresetName, NatSettings>> = {
  rfc4787: RFC4787,
  "linux-home": LINUX,
  "linux-random": { ...LINUX, ports: "random" },
  "cgn-block": { ...CARRIER, ports: "block", oneWay: 65_000, twoWay: 65_000, holdDown: 120_000 },
  "cellular-12s": { ...CARRIER, oneWay: 30_000, twoWay: 12_000 },
  "azure-5g": { ...CARRIER, oneWay: 30_000, twoWay: 30_000 },
  "no-inbound-refresh": { ...LINUX, inboundRefresh: false },
  "port-overload": {
    ...RFC4787,
    ports: "overload",
    oneWay: 120_000,
    twoWay: 120_000,
    hairpin: "none",
  },
};
