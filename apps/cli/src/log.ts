import { pino, type Logger } from "pino";

/** JSON lines on standard error; text from devices is cut, and JSON escapes what could forge a line. */
export function openLog(level: string): Logger {
  return pino(
    {
      level,
      base: null,
      formatters: { log: (fields) => Object.fromEntries(Object.entries(fields).map(cut)) },
    },
    pino.destination(2),
  );
}

function cut([name, value]: [string, unknown]): [string, unknown] {
  return [
    name,
    typeof value === "string" && value.length > 300 ? `${value.slice(0, 300)}…` : value,
  ];
}
