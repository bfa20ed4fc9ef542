/** What the system found wrong with a file, in words that follow its name: "there is no such file". */
export function systemWords(fault: unknown): string {
  const { code, message } = fault as NodeJS.ErrnoException;
  const known = WORDS.get(code ?? "");
  // "EIO: i/o error, read 'file'"
  return known ?? String(message).replaceAll(/^[A-Z]\w+: |, \w+(?: '.*')?$/g, "");
}

const WORDS: ReadonlyMap<string, string> = new Map([
  ["ENOENT", "there is no such file"],
  ["EISDIR", "it is a directory; write the name of a file"],
  ["EACCES", "permission denied; let the user who runs this use it"],
  ["EPERM", "permission denied; let the user who runs this use it"],
  ["EROFS", "it is on a read-only file system"],
]);
