import { Alert } from "@godwit/dtls";

/** The numbers of alerts (RFC 5246 7.2) with their names: "peer's alert 48" is followed by "(unknown ca)". */
export function nameAlerts(why: string): string {
  return why.replace(/peer's alert (\d+)$/, (text, number: string) => {
    const name = Object.entries(Alert).find(([, code]) => code === Number(number))?.[0];
    if (name === undefined) return text;
    return `${text} (${name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)})`;
  });
}
