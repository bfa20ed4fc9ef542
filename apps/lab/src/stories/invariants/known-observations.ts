import type { Story } from "../story.ts";

/** What the server says of an observation. */
export type KnownObservation = { readonly path: string; readonly state: string };

/** What a server knows to be observed of an endpoint; one that names paths alone says that all are active. */
export function knownObservations(
  { server: { host } }: Story,
  endpoint: string,
  server: Story["server"]["stack"]["server"],
): readonly KnownObservation[] {
  const ask = server.observationsOf.bind(server) as (
    endpoint: string,
    now: number,
  ) => readonly (string | KnownObservation)[];
  return ask(endpoint, Math.floor(host.now)).map((one) =>
    typeof one === "string" ? { path: one, state: "active" } : one,
  );
}
