// Loaded into a server's process before anything else (`node --import`): a disk that fails when told, and a clock that is off.
// Below these two calls all is as it is: the same store, the same files.

import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const disk = process.env["GODWIT_TEST_DISK"];
const off = Number(process.env["GODWIT_TEST_CLOCK"] ?? 0);

if (disk !== undefined) {
  const { fdatasync } = fs;
  const failing = (fd: number, done: fs.NoParamCallback): void => {
    if (!fs.existsSync(disk)) return fdatasync(fd, done);
    fs.rmSync(disk); // once
    const error = Object.assign(new Error("EIO: i/o error, fdatasync"), { code: "EIO" });
    process.nextTick(done, error);
  };
  fs.fdatasync = Object.assign(failing, fdatasync);
  syncBuiltinESMExports();
}

if (off !== 0) {
  const now = Date.now.bind(Date);
  Date.now = () => now() + off;
}
