import { FormatError } from "@godwit/base";
import { Code } from "./codes.ts";
import { ContentFormat } from "./content-format.ts";
import type { ExchangeId } from "./endpoint-events.ts";
import { encodeLinks, filterLinks, type Link, type LinkAttribute } from "./link-format.ts";
import type { Request, Response } from "./message.ts";
import { OptionNumber } from "./option-numbers.ts";
import { findUint, parsePath, response, uriPath, uriQuery } from "./options.ts";

/** What a resource does about one method: its answer, or undefined to give it later with `respond`. */
export type ResourceHandler = (request: Request, exchange: ExchangeId) => Response | undefined;

/** A resource by its methods; a method that is not there gets 4.05. */
export type Resource = {
  readonly get?: ResourceHandler;
  readonly post?: ResourceHandler;
  readonly put?: ResourceHandler;
  readonly delete?: ResourceHandler;
  readonly fetch?: ResourceHandler;
  readonly patch?: ResourceHandler;
  readonly ipatch?: ResourceHandler;
  /** What `/.well-known/core` says about it. */
  readonly attributes?: readonly LinkAttribute[];
  /** Answers for all paths below its own, too. */
  readonly subtree?: boolean;
  /** Not in `/.well-known/core`. */
  readonly hidden?: boolean;
};

/** The resources of a plain CoAP server by path, with `/.well-known/core` (RFC 6690 4). Feed it every request. */
export class ResourceTree {
  readonly #root: Node = { children: new Map(), resource: undefined };
  readonly #paths: { readonly path: string; readonly resource: Resource }[] = [];

  constructor() {
    this.add("/.well-known/core", { get: (request) => this.#discover(request), hidden: true });
  }

  /** Adds a resource, or replaces the one at this path. */
  add(path: string, resource: Resource): this {
    let node = this.#root;
    for (const segment of parsePath(path)) {
      let child = node.children.get(segment);
      if (child === undefined) {
        child = { children: new Map(), resource: undefined };
        node.children.set(segment, child);
      }
      node = child;
    }
    this.remove(path);
    node.resource = resource;
    this.#paths.push({ path, resource });
    return this;
  }

  /** Takes a resource away: 4.04 from now on. */
  remove(path: string): boolean {
    let node: Node | undefined = this.#root;
    for (const segment of parsePath(path)) node = node?.children.get(segment);
    if (node?.resource === undefined) return false;
    node.resource = undefined;
    this.#paths.splice(
      this.#paths.findIndex((entry) => entry.path === path),
      1,
    );
    return true;
  }

  /** The answer to a request, undefined if the resource gives it later. */
  handle(request: Request, exchange: ExchangeId): Response | undefined {
    let path: string[];
    try {
      path = uriPath(request.options);
    } catch (error) {
      if (error instanceof FormatError) return response(Code.BadRequest);
      throw error;
    }
    const resource = this.#find(path);
    if (resource === undefined) return response(Code.NotFound);
    const handler = handlerOf(resource, request.code);
    return handler === undefined ? response(Code.MethodNotAllowed) : handler(request, exchange);
  }

  #find(path: readonly string[]): Resource | undefined {
    let node: Node | undefined = this.#root;
    let above: Resource | undefined;
    for (const segment of path) {
      if (node.resource?.subtree === true) above = node.resource;
      node = node.children.get(segment);
      if (node === undefined) return above;
    }
    return node.resource ?? above;
  }

  /** RFC 6690 4.1: all links, or those the query asks for. */
  #discover(request: Request): Response {
    let query: string[];
    try {
      query = uriQuery(request.options);
    } catch (error) {
      if (error instanceof FormatError) return response(Code.BadRequest);
      throw error;
    }
    const accept = findUint(request.options, OptionNumber.Accept);
    if (accept !== undefined && accept !== ContentFormat.LinkFormat)
      return response(Code.NotAcceptable);
    const links: Link[] = this.#paths
      .filter(({ resource }) => resource.hidden !== true)
      .map(({ path, resource }) => ({ target: path, attributes: resource.attributes ?? [] }));
    return response(Code.Content, {
      contentFormat: ContentFormat.LinkFormat,
      payload: encodeLinks(filterLinks(links, query)),
    });
  }
}

type Node = { readonly children: Map<string, Node>; resource: Resource | undefined };

function handlerOf(resource: Resource, code: number): ResourceHandler | undefined {
  switch (code) {
    case Code.GET:
      return resource.get;
    case Code.POST:
      return resource.post;
    case Code.PUT:
      return resource.put;
    case Code.DELETE:
      return resource.delete;
    case Code.FETCH:
      return resource.fetch;
    case Code.PATCH:
      return resource.patch;
    case Code.iPATCH:
      return resource.ipatch;
    default:
      return undefined;
  }
}
