// Interoperation with implementations that are not ours, on real sockets.
//   npm run interop [-- --short] [-- --only TEXT] [-- --table]
// A case whose peer is not installed is SKIPPED; with CI=true that is a failure, unless no package has that peer. `--table` prints docs/interop.md's table.
import { parseArgs } from "node:util";
import { Bench } from "./bench.mjs";
import { byHandCases } from "./by-hand-cases.mjs";
import { californiumCases } from "./californium-cases.mjs";
import { coapCases } from "./coap-cases.mjs";
import { coapOscoreCases } from "./coap-oscore-cases.mjs";
import { lwm2mCases } from "./lwm2m-cases.mjs";
import { lwm2mDeviceCases } from "./lwm2m-device-cases.mjs";
import { dtlsCases } from "./dtls-cases.mjs";
import { oscoreCases } from "./oscore-cases.mjs";
import { dtlsCertificateCases } from "./dtls-certificate-cases.mjs";
import { dtlsStackCases } from "./dtls-stack-cases.mjs";
import { libcoapOscoreCases } from "./libcoap-oscore-cases.mjs";
import { tinydtlsCases } from "./tinydtls-cases.mjs";
import { findPeer } from "./peers.mjs";
import { killCases } from "./kill-cases.mjs";
import { rebindCases } from "./rebind-cases.mjs";

const { values: options } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    table: { type: "boolean", default: false },
  },
});
const CASE_TIMEOUT = 60_000;
const found = new Map();
const counts = { passed: 0, failed: 0, skipped: 0 };
const rows = [];

for (const one of [
  ...coapCases,
  ...lwm2mCases,
  ...lwm2mDeviceCases,
  ...oscoreCases,
  ...coapOscoreCases,
  ...californiumCases,
  ...libcoapOscoreCases,
  ...byHandCases,
  ...rebindCases,
  ...killCases,
  ...dtlsCases,
  ...dtlsStackCases,
  ...dtlsCertificateCases,
  ...tinydtlsCases,
]) {
  const title = `${one.group} with ${one.peer}: ${one.name}`;
  if ((options.short && !one.short) || !title.includes(options.only)) continue;
  const began = performance.now();
  const { outcome, why } = await attempt(one);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  counts[outcome]++;
  rows.push(
    `| ${one.group} | ${one.peer} ${found.get(one.peer).version ?? ""} | ${one.name} | ${outcome} |`,
  );
  if (outcome === "passed") console.log(`ok      ${title} (${seconds} s)`);
  else if (outcome === "skipped") console.log(`SKIPPED ${title}: ${why}`);
  else console.log(`FAILED  ${title} (${seconds} s)\n${why.replace(/^/gm, "          ")}`);
}
if (options.table) {
  console.log("\n| Godwit's part | peer | case | result |\n| --- | --- | --- | --- |");
  console.log(rows.join("\n"));
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exit(counts.failed > 0 ? 1 : 0);

async function attempt(one) {
  const { peer } = one;
  if (!found.has(peer)) found.set(peer, findPeer(peer));
  const { missing, packaged } = found.get(peer);
  if (missing && !packaged) return { outcome: "skipped", why: missing };
  if (missing) {
    const why = `${peer} is not installed (${missing}); scripts/interop/install.sh brings it`;
    return { outcome: process.env.CI === "true" ? "failed" : "skipped", why };
  }
  const bench = new Bench();
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error("the case took too long")), CASE_TIMEOUT);
  });
  try {
    await Promise.race([one.run(bench), late]);
    return { outcome: "passed" };
  } catch (fault) {
    return { outcome: "failed", why: String(fault.stack ?? fault) };
  } finally {
    clearTimeout(timer);
    await bench.close();
  }
}
