import { UsageError } from "@godwit/base";

export type ServerUri = { readonly scheme: "coap"; readonly host: string; readonly port: number };

/** Reads "coap://host[:port]". @throws UsageError that says what to write */
export function parseServerUri(text: string): ServerUri {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new UsageError(`"${text}" is no server: write coap://HOST[:PORT]`);
  }
  if (url.protocol === "coaps:") throw new UsageError("coaps:// needs DTLS, which is not here yet");
  if (url.protocol !== "coap:") {
    throw new UsageError(`"${url.protocol}//" is no scheme of a server: write coap://HOST[:PORT]`);
  }
  if (url.hostname === "" || (url.pathname !== "" && url.pathname !== "/")) {
    throw new UsageError(`"${text}" is no server: write coap://HOST[:PORT] and nothing behind it`);
  }
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return { scheme: "coap", host, port: url.port === "" ? COAP_PORT : Number(url.port) };
}

const COAP_PORT = 5_683;
