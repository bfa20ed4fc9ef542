// Godwit's device as a user starts it: `godwit device`.
import { fileURLToPath } from "node:url";

export const GODWIT = fileURLToPath(new URL("../../apps/cli/bin/godwit.mjs", import.meta.url));

/**
 * Starts the device and waits until it is registered, or tells of what `until` is like. `lifetime` in s: an Update comes at
 * half of it.
 */
export async function startDevice(
  bench,
  { endpoint, port, scheme = "coap", lifetime = 60, options = [], until = / registered at \/\S+/ },
) {
  const device = bench.start(process.execPath, [
    GODWIT,
    "device",
    ...["--server", `${scheme}://127.0.0.1:${port}`],
    ...["--endpoint", endpoint],
    ...["--lifetime", String(lifetime)],
    ...options,
  ]);
  await device.expect(until, 20_000);
  return device;
}
