// A dot per passed test, the whole story of each failed one, and a closing line with the counts.

export default async function* report(source) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  let column = 0;
  for await (const { type, data } of source) {
    if (data?.details?.type === "suite") continue;
    if (type === "test:pass") {
      counts[data.skip === undefined ? "passed" : "skipped"] += 1;
      yield data.skip === undefined ? "." : "s";
      if (++column % 100 === 0) yield "\n";
    } else if (type === "test:fail") {
      counts.failed += 1;
      const { error } = data.details;
      const cause = error.cause ?? error;
      yield `\nFAILED ${data.name}\n${cause?.stack ?? cause}\n`;
    } else if (type === "test:stderr" || type === "test:stdout") {
      yield data.message;
    }
  }
  yield `\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`;
}
