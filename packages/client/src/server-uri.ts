import { UsageError } from "@godwit/base";

export type ServerUri = {
  readonly scheme: "coap" | "coaps";
  readonly host: string;
  readonly port: number;
};

/** Reads "coap://host[:port]". @throws UsageError that says what to write */
export function parseServerUri(text: string): ServerUri {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new UsageError(`"${text}" is no server: write coap://HOST[:PORT]`);
  }
  const scheme = url.protocol.slice(0, -1);
  if (scheme !== "coap" && scheme !== "coaps") {
    throw new UsageError(`"${scheme}://" is no scheme of a server: write coap://HOST[:PORT]`);
  }
  if (url.hostname === "" || (url.pathname !== "" && url.pathname !== "/")) {
    throw new UsageError(
      `"${text}" is no server: write ${scheme}://HOST[:PORT] and nothing behind it`,
    );
  }
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const usual = scheme === "coap" ? COAP_PORT : COAPS_PORT;
  return { scheme, host, port: url.port === "" ? usual : Number(url.port) };
}

const COAP_PORT = 5_683;
const COAPS_PORT = 5_684;
