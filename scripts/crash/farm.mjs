// Devices that rounds.mjs kills: a process of its own, started by apps/cli/src/crash/farm.test-kit.ts.
import { runFarm } from "../../apps/cli/dist/crash/farm-process.test-kit.js";

runFarm();
