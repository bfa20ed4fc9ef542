import { copyFileSync, existsSync, chmodSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { backUpData, readMasterKey, restoreData, sealedWith } from "@godwit/io";
import { CREDENTIAL_TABLE, DTLS_TABLES } from "@godwit/lwm2m";
import { OSCORE_TABLE } from "@godwit/oscore";
import { Command, Option } from "commander";
import { directoryName, fileName } from "./arguments.ts";

export function backupCommand(): Command {
  return new Command("backup")
    .description("copy what a server keeps into one file, while it runs or while it is stopped")
    .addOption(dataOption("the server's data directory"))
    .requiredOption(
      "--to <path>",
      "a file that does not exist yet, or a directory for backups named by the time",
      fileName,
    )
    .action(backup);
}

async function backup(options: { readonly data: string; readonly to: string }): Promise<void> {
  const { file, bytes, fromRunningServer } = await backUpData(options.data, options.to, Date.now());
  const how = fromRunningServer ? "of the running server" : "of the stopped server";
  say(`Backup ${how}: ${file}, ${Math.ceil(bytes / 1_024)} KiB`);
  say(
    `The master key is not in it: keep a copy of ${masterKeyFile(options.data)} apart from the backups; without it no credential in them can be read`,
  );
}

export function restoreCommand(): Command {
  return new Command("restore")
    .description("make a backup the store of a stopped server; devices then make new keys")
    .requiredOption(
      "--from <path>",
      "a backup, a directory of backups (the newest is taken), or a copied data directory",
      fileName,
    )
    .addOption(
      dataOption(
        "the data directory to restore into; a store that is there is kept under another name",
      ),
    )
    .option(
      "--master-key <file>",
      "the master key that the backup's secrets are sealed with",
      fileName,
    )
    .action(restore);
}

type RestoreFlags = { readonly from: string; readonly data: string; readonly masterKey?: string };

async function restore({ from, data, masterKey }: RestoreFlags): Promise<void> {
  const own = masterKeyFile(data);
  let key: string | undefined;
  const { source, madeAt, replaced } = await restoreData({
    from,
    directory: data,
    drop: [DTLS_TABLES.association, OSCORE_TABLE],
    async admit(read) {
      const sealed = SEALED.flatMap((table) => read(table));
      const ids = new Set(sealed.map(sealedWith).filter((id) => id !== undefined));
      if (ids.size === 0) return;
      key = masterKey ?? (existsSync(own) ? own : await askForKey());
      const { id } = readMasterKey(key);
      const others = sealed.filter((one) => sealedWith(one) !== id).length;
      if (others > 0)
        throw new Error(
          `${key} is not the master key that this backup was sealed with: ${others} of ${sealed.length} secrets could not be read. Nothing was restored`,
        );
    },
  });
  say(`Restored ${source}${madeAt === undefined ? "" : `, made at ${madeAt}`}, into ${data}`);
  if (key !== undefined && resolve(key) !== resolve(own)) keepKey(key, own);
  if (replaced !== undefined) say(`The store that was there is kept as ${replaced}`);
  say(
    "Keys and sequence numbers of sessions were dropped: each device makes new ones when it speaks next",
  );
  say("What was revoked or removed after the backup was made is back: revoke it again");
}

async function askForKey(): Promise<string> {
  if (!process.stdin.isTTY)
    throw new Error(
      "this backup has secrets, and the master key is not in it: name it with --master-key FILE. Nothing was restored",
    );
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return (await terminal.question("File with the master key of this backup: ")).trim();
  } finally {
    terminal.close();
  }
}

/** Where the server will look for it. */
function keepKey(from: string, to: string): void {
  if (existsSync(to)) {
    if (sameKey(from, to)) return say(`${to} is that key already`);
    say(
      `${to} is another key and was left as it is: start the server with GODWIT_MASTER_KEY_FILE=${from}`,
    );
    return;
  }
  copyFileSync(from, to);
  chmodSync(to, 0o600);
  say(`The master key was copied to ${to}`);
}

function masterKeyFile(data: string): string {
  const named = process.env["GODWIT_MASTER_KEY_FILE"];
  return named === undefined || named === "" ? join(data, "master-key") : named;
}

function dataOption(words: string): Option {
  return new Option("--data <directory>", words)
    .default("./godwit-data")
    .env("GODWIT_DATA")
    .argParser(directoryName);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Tables whose records show by what key they were sealed. */
const SEALED: readonly string[] = [CREDENTIAL_TABLE, "serverKey"];

function sameKey(one: string, other: string): boolean {
  try {
    return readMasterKey(one).id === readMasterKey(other).id;
  } catch {
    return false; // what is no key is another one
  }
}
