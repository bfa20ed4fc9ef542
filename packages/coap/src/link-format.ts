import { FormatError, UsageError, fromUtf8, utf8 } from "@godwit/base";

export type LinkAttribute = {
  readonly name: string;
  /** Without quotes and escapes; absent for an attribute that is a bare name. */
  readonly value?: string;
};

/** One link of RFC 6690: `</3/0>;ver=1.1` has the target "/3/0" and the attribute ver. */
export type Link = {
  readonly target: string;
  readonly attributes: readonly LinkAttribute[];
};

export type LinkFormatOptions = {
  /** Longest document, in bytes of UTF-8 for bytes and in UTF-16 units for a string. */
  readonly maxLength?: number;
  readonly maxLinks?: number;
  readonly maxAttributesPerLink?: number;
  /** Keep a target's last slash, which is dropped otherwise: old LwM2M clients write `</1/0/>`. */
  readonly keepTrailingSlash?: boolean;
};

/** This is no link-format document, from `position` on (in UTF-16 units). */
export class LinkFormatError extends FormatError {
  readonly position: number;

  constructor(what: string, position: number) {
    super(`${what} at ${position}`);
    this.position = position;
  }
}

/**
 * Reads a link-format document (RFC 6690 2). Blanks around `,`, `;` and `=` are tolerated. A second rel, media, title,
 * title* or type in one link is ignored (RFC 5988 5); a second rt, if, sz or ct is an error (RFC 6690 3, RFC 7252 7.2.1).
 *
 * @throws LinkFormatError, or FormatError if bytes are not UTF-8
 */
export function parseLinks(document: Uint8Array | string, options: LinkFormatOptions = {}): Link[] {
  const limits = { ...DEFAULTS, ...options };
  if (document.length > limits.maxLength)
    throw new LinkFormatError(`more than ${limits.maxLength} bytes`, limits.maxLength);
  const text = typeof document === "string" ? document : fromUtf8(document);
  const scanner = new Scanner(text);
  const links: Link[] = [];
  scanner.blanks();
  if (scanner.done) return links;
  do {
    if (links.length === limits.maxLinks) scanner.fail(`more than ${limits.maxLinks} links`);
    links.push(parseLink(scanner, limits));
  } while (scanner.skip(","));
  if (!scanner.done) scanner.fail("neither , nor ; nor the end");
  return links;
}

/**
 * Writes a link-format document. Values that are no token are quoted, and so are those of rt, if, rel, rev, anchor, title
 * and uri always, as everybody writes them.
 *
 * @throws UsageError for what the format cannot hold: control characters, `<` or `>` in a target, a name that is no name
 */
export function formatLinks(links: readonly Link[]): string {
  return links.map(formatLink).join(",");
}

/** {@link formatLinks} as the bytes of a payload. */
export function encodeLinks(links: readonly Link[]): Uint8Array {
  return utf8(formatLinks(links));
}

/** The value of a link's attribute: "" for a bare name, undefined without the attribute. */
export function linkAttribute(link: Link, name: string): string | undefined {
  const attribute = link.attributes.find((candidate) => candidate.name === name);
  return attribute && (attribute.value ?? "");
}

/**
 * The links that a discovery query asks for (RFC 6690 4.1): `href=/foo*`, `rt=light-lux`, `if=*`. With several queries a
 * link must match each. A query without `=` is no filter. Lists in rt, if, rel, rev and ct match by each of their members.
 */
export function filterLinks(links: readonly Link[], query: string | readonly string[]): Link[] {
  const filters = (typeof query === "string" ? [query] : query)
    .map((text) => /^([^=]+)=(.*)$/s.exec(text))
    .filter((match) => match !== null)
    .map((match) => ({ name: match[1]!, value: match[2]! })); // both groups take part in every match
  return links.filter((link) => filters.every(({ name, value }) => matches(link, name, value)));
}

function matches(link: Link, name: string, wanted: string): boolean {
  const prefix = wanted.endsWith("*") ? wanted.slice(0, -1) : undefined;
  const one = (value: string) =>
    prefix === undefined ? value === wanted : value.startsWith(prefix);
  if (name === "href") return one(link.target);
  return link.attributes.some(
    (attribute) =>
      attribute.name === name &&
      (LISTS.has(name) ? (attribute.value ?? "").split(" ").some(one) : one(attribute.value ?? "")),
  );
}

function parseLink(scanner: Scanner, limits: Required<LinkFormatOptions>): Link {
  if (!scanner.skip("<")) scanner.fail("no <");
  const target = scanner.target(limits.keepTrailingSlash);
  const attributes: LinkAttribute[] = [];
  const seen = new Set<string>();
  let count = 0;
  scanner.blanks();
  while (scanner.skip(";")) {
    if (++count > limits.maxAttributesPerLink)
      scanner.fail(`more than ${limits.maxAttributesPerLink} attributes`);
    const attribute = parseAttribute(scanner);
    const { name } = attribute;
    if (ONCE_STRICT.has(name) && seen.has(name)) scanner.fail(`a second ${name} ends`);
    if (!(ONCE.has(name) && seen.has(name))) attributes.push(attribute);
    seen.add(name);
  }
  return { target, attributes };
}

function parseAttribute(scanner: Scanner): LinkAttribute {
  const name = scanner.take(NAME, "no attribute name");
  if (name === "href") scanner.fail("the reserved name href ends");
  scanner.blanks();
  if (!scanner.skip("=")) {
    if (name.endsWith("*")) scanner.fail("no value");
    return { name };
  }
  const quoted = !name.endsWith("*") && scanner.at('"');
  const value = quoted ? scanner.quoted() : scanner.take(TOKEN, "no value");
  scanner.blanks();
  return { name, value };
}

function formatLink({ target, attributes }: Link): string {
  if (!TARGET_ONLY.test(target)) throw new UsageError("no link target");
  let text = `<${target}>`;
  const seen = new Set<string>();
  for (const { name, value } of attributes) {
    if (!NAME_ONLY.test(name) || name === "href") throw new UsageError("no attribute name");
    if ((ONCE.has(name) || ONCE_STRICT.has(name)) && seen.has(name))
      throw new UsageError(`${name} may stand once`);
    seen.add(name);
    text += `;${name}`;
    if (value !== undefined) text += `=${formatValue(name, value)}`;
    else if (name.endsWith("*")) throw new UsageError(`${name} needs a value`);
  }
  return text;
}

function formatValue(name: string, value: string): string {
  const token = TOKEN_ONLY.test(value);
  if (token && !QUOTED_ALWAYS.has(name)) return value;
  if (name.endsWith("*")) throw new UsageError(`${name} takes an RFC 5987 value`);
  if (CONTROL.test(value)) throw new UsageError("control character in a link attribute");
  return `"${value.replace(/["\\]/g, "\\$&")}"`;
}

/** A cursor over the document; each expression is sticky and reads its characters once. */
class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get done(): boolean {
    return this.#at === this.#text.length;
  }

  at(character: string): boolean {
    return this.#text[this.#at] === character;
  }

  blanks(): void {
    while (this.at(" ") || this.at("\t")) this.#at++;
  }

  /** Passes the character and the blanks behind it, if it is next. */
  skip(character: string): boolean {
    if (!this.at(character)) return false;
    this.#at++;
    if (character !== "<") this.blanks();
    return true;
  }

  /** The URI-Reference up to and over its `>`. */
  target(keepSlash: boolean): string {
    const target = this.take(TARGET, "no target");
    if (!this.at(">")) this.fail("no >");
    this.#at++;
    return keepSlash || target.length < 2 || !target.endsWith("/") ? target : target.slice(0, -1);
  }

  take(sticky: RegExp, otherwise: string): string {
    sticky.lastIndex = this.#at;
    const match = sticky.exec(this.#text);
    if (match === null) this.fail(otherwise);
    this.#at += match[0].length;
    return match[0];
  }

  /** A quoted-string (RFC 2616 2.2) without control characters, as what it means. */
  quoted(): string {
    let value = "";
    let from = this.#at + 1;
    for (let i = from; i < this.#text.length; i++) {
      const unit = this.#text.charCodeAt(i);
      if (unit === 0x22 /* " */) {
        this.#at = i + 1;
        return value + this.#text.slice(from, i);
      }
      if (unit < 0x20 || unit === 0x7f) break;
      if (unit === 0x5c /* \ */) {
        value += this.#text.slice(from, i);
        from = i + 1;
        i++; // whatever it is, it stands for itself
        if (CONTROL.test(this.#text.charAt(i))) break;
      }
    }
    return this.fail("no end of quotes");
  }

  fail(what: string): never {
    throw new LinkFormatError(what, this.#at);
  }
}

const DEFAULTS: Required<LinkFormatOptions> = {
  maxLength: 65_536,
  maxLinks: 4_096,
  maxAttributesPerLink: 32,
  keepTrailingSlash: false,
};

/** RFC 5988 5.3-5.4: what follows the first is ignored. */
const ONCE: ReadonlySet<string> = new Set(["rel", "media", "title", "title*", "type"]);
/** RFC 6690 3.1-3.3, RFC 7252 7.2.1: must not follow the first. */
const ONCE_STRICT: ReadonlySet<string> = new Set(["rt", "if", "sz", "ct"]);
/** Values that are lists with blanks between. */
const LISTS: ReadonlySet<string> = new Set(["rt", "if", "rel", "rev", "ct"]);
const QUOTED_ALWAYS: ReadonlySet<string> = new Set([
  "rt",
  "if",
  "rel",
  "rev",
  "anchor",
  "title",
  "uri",
]);

/* oxlint-disable no-control-regex -- control characters are what these keep out */
const TARGET = /[^\0-\x20\x7f<>"]*/y;
const TARGET_ONLY = /^[^\0-\x20\x7f<>"]*$/;
/** parmname of RFC 5987, with the star of RFC 2231. */
const NAME = /[\w!#$&+\-.^`|~]+\*?/y;
const NAME_ONLY = /^[\w!#$&+\-.^`|~]+\*?$/;
/** ptoken of RFC 6690 2. */
const TOKEN = /[\w!#$%&'()*+\-./:<=>?@[\]^`{|}~]+/y;
const TOKEN_ONLY = /^[\w!#$%&'()*+\-./:<=>?@[\]^`{|}~]+$/;
const CONTROL = /[\0-\x1f\x7f]/;
