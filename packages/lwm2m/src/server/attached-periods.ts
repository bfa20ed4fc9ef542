import { FormatError } from "@godwit/base";
import { uriQuery, type Request } from "@godwit/coap";
import {
  applyAttributes,
  parseAttributes,
  type AttributeChange,
  type Attributes,
} from "../attributes.ts";
import { formatNodePath, parseNodePath } from "../node-path.ts";

/**
 * pmin and pmax that the server attached to paths of devices (OMA TS Core 7.3), a bounded number of each: an Observe that
 * follows is due by them.
 */
export class AttachedPeriods {
  readonly #byEndpoint = new Map<string, Map<string, Attributes>>();
  readonly #limit: number;

  constructor(limitPerEndpoint: number) {
    this.#limit = limitPerEndpoint;
  }

  /** A Write-Attributes was obeyed. Returns what is attached to its path now; undefined: nobody knows. */
  attach(endpoint: string, path: string, request: Request): Attributes | undefined {
    const change = periodsIn(request);
    if (change === undefined) return undefined;
    const paths = this.#byEndpoint.get(endpoint) ?? new Map<string, Attributes>();
    this.#byEndpoint.set(endpoint, paths);
    const name = formatNodePath(parseNodePath(path));
    const attributes = applyAttributes(paths.get(name) ?? {}, change);
    paths.delete(name); // the newest comes last
    paths.set(name, attributes);
    const [oldest] = paths.keys();
    if (paths.size > this.#limit && oldest !== undefined) paths.delete(oldest);
    return attributes;
  }

  forget(endpoint: string): void {
    this.#byEndpoint.delete(endpoint);
  }

  /** What is attached to the path and above it, by the number of ids; what came with the Observe replaces its own level. */
  levels(endpoint: string, path: string, request: Request): Attributes[] {
    const at = parseNodePath(path);
    const paths = this.#byEndpoint.get(endpoint);
    const levels = at.map((_, i) => paths?.get(formatNodePath(at.slice(0, i + 1))) ?? {});
    const own = periodsIn(request) ?? {};
    if (Object.keys(own).length > 0) levels[levels.length - 1] = applyAttributes({}, own);
    return [{}, ...levels];
  }
}

/** The pmin and pmax in a query; undefined: it has attributes that nobody knows. */
function periodsIn({ options }: Request): Pick<AttributeChange, "pmin" | "pmax"> | undefined {
  try {
    const { pmin, pmax } = parseAttributes(uriQuery(options), "1.2");
    return { ...(pmin !== undefined && { pmin }), ...(pmax !== undefined && { pmax }) };
  } catch (fault) {
    if (!(fault instanceof FormatError)) throw fault;
    return undefined;
  }
}
