// A real Linux NAT between devices and a server, out of three network namespaces of this machine:
//
//   devices (10.77.1.2) ──veth── nat (10.77.1.1 | 203.0.113.1) ──veth── server (203.0.113.10)
//
// The kernel's own connection tracking is the NAT; nft rules decide how it behaves. The server has no route to the
// devices' network, as on the Internet. Needs root, iproute2, nftables, conntrack and procps.
import { execFileSync, spawnSync } from "node:child_process";

/** How the NAT behaves; see facts on each in docs/lab.md. */
export const MODES = {
  random: "a new port for each flow, filtered by address and port",
  preserve: "keeps the source port while it is free",
  noinref: "keeps the port; datagrams from outside do not refresh the mapping",
  cgn: "a block of 8 ports for all devices: one flow more gets nothing",
};
export const SERVER_HOST = "203.0.113.10";
const PUBLIC_HOSTS = ["203.0.113.1", "203.0.113.2"];
const TOOLS = ["ip", "nft", "conntrack", "sysctl"];

/** Why there can be no NAT here; undefined where there can. */
export function obstacle() {
  if (process.platform !== "linux") return "network namespaces need Linux";
  if (process.getuid() !== 0) return "network namespaces need root";
  for (const tool of TOOLS) {
    if (spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0)
      return `${tool} is not installed (Debian: iproute2 nftables conntrack procps)`;
  }
  const probe = `godwit-probe-${process.pid}`;
  try {
    run("ip", "netns", "add", probe);
    run("ip", "netns", "exec", probe, "nft", "add", "table", "ip", "probe");
    return undefined;
  } catch (fault) {
    return `network namespaces are not allowed here: ${fault.message.trim().split("\n").at(-1)}`;
  } finally {
    spawnSync("ip", ["netns", "del", probe]);
  }
}

export class NatNetwork {
  #mode;
  #names;
  #public = 0;

  /** `tag`: tells networks apart that exist at the same time. `oneWay`, `bothWays`: s that a mapping lives. */
  constructor({ tag, mode, oneWay, bothWays }) {
    this.#mode = mode;
    this.#names = { devices: `${tag}-dev`, nat: `${tag}-nat`, server: `${tag}-srv` };
    this.timeouts = { oneWay, bothWays };
  }

  /** The namespace's name: "devices", "nat" or "server". */
  name(which) {
    return this.#names[which];
  }

  up() {
    this.down();
    const { devices, nat, server } = this.#names;
    for (const name of [devices, nat, server]) {
      run("ip", "netns", "add", name);
      run("ip", "-n", name, "link", "set", "lo", "up");
    }
    this.#wire(devices, "up0", "10.77.1.2/24", "inside", "10.77.1.1/24");
    this.#wire(server, "up0", `${SERVER_HOST}/24`, "outside", `${PUBLIC_HOSTS[0]}/24`);
    run("ip", "-n", devices, "route", "add", "default", "via", "10.77.1.1");
    const { oneWay, bothWays } = this.timeouts;
    this.#in(nat, "sysctl", "-qw", "net.ipv4.ip_forward=1");
    this.#rules();
    // The module of connection tracking is there only once a rule needs it.
    this.#in(
      nat,
      "sysctl",
      "-qw",
      `net.netfilter.nf_conntrack_udp_timeout=${oneWay}`,
      `net.netfilter.nf_conntrack_udp_timeout_stream=${bothWays}`,
    );
  }

  down() {
    for (const name of Object.values(this.#names)) spawnSync("ip", ["netns", "del", name]);
  }

  /** Every mapping is forgotten. */
  reboot() {
    this.#in(this.#names.nat, "conntrack", "-F");
    if (this.#mode === "noinref") this.#rules(); // its set of fresh flows, too
  }

  /** The NAT gets another public address. Mappings of the old one are dead. */
  renumber() {
    const old = PUBLIC_HOSTS[this.#public];
    this.#public = 1 - this.#public;
    const { nat } = this.#names;
    run("ip", "-n", nat, "addr", "add", `${PUBLIC_HOSTS[this.#public]}/24`, "dev", "outside");
    run("ip", "-n", nat, "addr", "del", `${old}/24`, "dev", "outside");
    // Where secondary addresses go with the primary one, it is gone, too.
    spawnSync("ip", [
      "-n",
      nat,
      "addr",
      "add",
      `${PUBLIC_HOSTS[this.#public]}/24`,
      "dev",
      "outside",
    ]);
  }

  #wire(name, end, address, natEnd, natAddress) {
    const { nat } = this.#names;
    run(
      "ip",
      "link",
      "add",
      end,
      "netns",
      name,
      "type",
      "veth",
      "peer",
      "name",
      natEnd,
      "netns",
      nat,
    );
    run("ip", "-n", name, "addr", "add", address, "dev", end);
    run("ip", "-n", nat, "addr", "add", natAddress, "dev", natEnd);
    run("ip", "-n", name, "link", "set", end, "up");
    run("ip", "-n", nat, "link", "set", natEnd, "up");
  }

  #rules() {
    const { nat } = this.#names;
    this.#in(nat, "nft", "flush", "ruleset");
    run("ip", "netns", "exec", nat, "nft", "-f", "-", { input: this.#ruleset() });
  }

  #ruleset() {
    const masquerade = {
      random: 'oifname "outside" masquerade fully-random',
      preserve: 'oifname "outside" masquerade',
      noinref: 'oifname "outside" masquerade',
      cgn: 'oifname "outside" meta l4proto udp masquerade to :50000-50007',
    }[this.#mode];
    const fresh =
      this.#mode !== "noinref"
        ? ""
        : `set fresh { type ipv4_addr . inet_service . ipv4_addr . inet_service; flags dynamic,timeout; }
           chain out { type filter hook forward priority -10;
             iifname "inside" meta l4proto udp update @fresh { ip saddr . udp sport . ip daddr . udp dport timeout ${this.timeouts.bothWays}s };
             iifname "outside" meta l4proto udp ip daddr . udp dport . ip saddr . udp sport != @fresh drop; }`;
    return `table ip godwit {
      ${fresh}
      chain post { type nat hook postrouting priority 100; ${masquerade}; }
      chain forw { type filter hook forward priority 0; iifname "outside" ct state { new, invalid } drop; }
    }`;
  }

  #in(name, ...command) {
    return run("ip", "netns", "exec", name, ...command);
  }
}

/** The last argument may be options of `execFileSync`. Throws with what the command said. */
function run(command, ...rest) {
  const options = typeof rest.at(-1) === "object" ? rest.pop() : {};
  try {
    return execFileSync(command, rest, { stdio: ["pipe", "pipe", "pipe"], ...options }).toString();
  } catch (fault) {
    throw new Error(`${command} ${rest.join(" ")}: ${fault.stderr?.toString() || fault.message}`, {
      cause: fault,
    });
  }
}
