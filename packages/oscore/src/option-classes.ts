import { UsageError, fromUtf8, utf8 } from "@godwit/base";
import { OptionNumber, findOption, sortOptions, stringOption, type Option } from "@godwit/coap";

// RFC 8613 4.1: class E travels encrypted, class U in the open. What is not known, or of both classes, is sent
// encrypted; Observe alone is sent in both places. An outer option of class E is worth nothing to the receiver.

/** The options that only proxies are told. */
export function isOuterOnly(number: number): boolean {
  switch (number) {
    case OptionNumber.UriHost:
    case OptionNumber.UriPort:
    case OptionNumber.Oscore:
    case OptionNumber.Edhoc:
    case OptionNumber.ProxyUri:
    case OptionNumber.ProxyScheme:
      return true;
    default:
      return false;
  }
}

/** A message's options by where they travel. Throws UsageError for an option OSCORE: nesting is not defined (4.1.3.7). */
export function splitOptions(options: readonly Option[]): {
  readonly inner: readonly Option[];
  readonly outer: Option[];
} {
  const outer: Option[] = [];
  let inner: Option[] | undefined; // made when the first option goes elsewhere: most messages have none
  for (let i = 0; i < options.length; i++) {
    const option = options[i]!; // i < length
    if (isOuterOnly(option.number)) {
      if (option.number === OptionNumber.Oscore)
        throw new UsageError("the message is protected already");
      inner ??= options.slice(0, i);
      outer.push(option);
    } else {
      inner?.push(option);
    }
  }
  if (inner !== undefined && findOption(outer, OptionNumber.ProxyUri) !== undefined)
    return splitProxyUri(inner, outer);
  return { inner: inner ?? options, outer };
}

/** What the receiver of a message has: the inner options, and those outer ones that are not for it alone (8.2 steps 1, 7). */
export function mergeOptions(
  inner: readonly Option[],
  outer: readonly Option[],
): readonly Option[] {
  let merged: Option[] | undefined;
  for (let i = 0; i < outer.length; i++) {
    const option = outer[i]!; // i < length
    if (!isOuterOnly(option.number) || option.number === OptionNumber.Oscore) continue;
    if (findOption(inner, option.number) !== undefined) continue; // what was encrypted is what was meant
    merged ??= [...inner];
    merged.push(option);
  }
  return merged === undefined ? inner : sortOptions(merged);
}

/**
 * RFC 8613 4.1.3.3: path and query of a Proxy-Uri are encrypted, the proxy sees scheme, host and port.
 *
 * @throws UsageError for a URI that RFC 7252 6.4 does not decompose, or one beside Uri-Path or Uri-Query
 */
function splitProxyUri(
  inner: readonly Option[],
  outer: readonly Option[],
): { readonly inner: readonly Option[]; readonly outer: Option[] } {
  const uri = fromUtf8(findOption(outer, OptionNumber.ProxyUri)!.value); // the caller found it
  const parts = /^([a-z][a-z0-9+.-]*:\/\/[^/?#]+)([^?#]*)(\?[^#]*)?$/i.exec(uri);
  if (parts === null) throw new UsageError(`no absolute URI without fragment: ${uri}`);
  if (
    inner.some(({ number }) => number === OptionNumber.UriPath || number === OptionNumber.UriQuery)
  )
    throw new UsageError("Proxy-Uri beside Uri-Path or Uri-Query");
  const [, origin = "", path = "", query] = parts;
  const split = [...inner];
  if (path !== "" && path !== "/")
    for (const segment of path.slice(1).split("/"))
      split.push(decoded(OptionNumber.UriPath, segment));
  if (query !== undefined)
    for (const argument of query.slice(1).split("&"))
      split.push(decoded(OptionNumber.UriQuery, argument));
  return {
    inner: sortOptions(split),
    outer: outer.map((option) =>
      option.number === OptionNumber.ProxyUri ? { ...option, value: utf8(origin) } : option,
    ),
  };
}

function decoded(number: number, text: string): Option {
  try {
    return stringOption(number, decodeURIComponent(text));
  } catch {
    throw new UsageError(`no percent-encoded UTF-8: ${text}`);
  }
}
