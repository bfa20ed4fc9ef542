import { Code, ContentFormat, observeOption, response, type Response } from "@godwit/coap";
import type { NodePath } from "../node-path.ts";
import { valueFormat } from "../value-format.ts";
import type { ValueNode } from "../value.ts";

/** The 2.05 with these values, in the format asked for or the plainest that holds them; undefined: not in that format. */
export function contentOf(
  path: NodePath,
  accept: number | undefined,
  nodes: readonly ValueNode[],
  observed: boolean,
): Response | undefined {
  const formats = accept === undefined ? PLAINEST : [accept];
  const contentFormat = formats.find((format) => valueFormat(format)?.fits(path, nodes) === true);
  if (contentFormat === undefined) return undefined;
  return response(Code.Content, {
    contentFormat,
    payload: valueFormat(contentFormat)?.encode(path, nodes) ?? new Uint8Array(),
    ...(observed && { options: [observeOption(0)] }), // the endpoint numbers them
  });
}

/** A resource without a node is not there; an instance without resources is, and is empty. */
export function isAbsent(path: NodePath, nodes: readonly ValueNode[]): boolean {
  return path.length > 2 && nodes.length === 0;
}

/** Without an Accept: what holds one value plainly, else TLV. */
const PLAINEST: readonly number[] = [
  ContentFormat.OctetStream,
  ContentFormat.Text,
  ContentFormat.Lwm2mTlv,
];
