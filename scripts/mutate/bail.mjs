// Ends the process at the first failed test and says which it was.

export default async function* report(source) {
  let passed = 0;
  for await (const { type, data } of source) {
    if (data?.details?.type === "suite") continue;
    if (type === "test:pass") passed += 1;
    if (type !== "test:fail") continue;
    process.stdout.write(`killed by: ${data.name}\n`, () => process.exit(1));
    return;
  }
  yield `${passed} passed\n`;
}
