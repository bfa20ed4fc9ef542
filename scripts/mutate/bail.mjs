// Ends the process at the first failed test and says which it was, and in which file.

export default async function* report(source) {
  let passed = 0;
  for await (const { type, data } of source) {
    if (data?.details?.type === "suite") continue;
    if (type === "test:pass") passed += 1;
    if (type !== "test:fail") continue;
    const said = `killed by: ${data.name}\nin: ${data.file ?? ""}\n`;
    process.stdout.write(said, () => process.exit(1));
    return;
  }
  yield `${passed} passed\n`;
}
