import { decodeBlock, isBlock, type Block } from "./block-option.ts";
import type { Option } from "./message.ts";
import { findOption } from "./options.ts";

/** The first Block option of this number. Throws FormatError as decodeBlock does. */
export function findBlock(options: readonly Option[], number: number): Block | undefined {
  const option = findOption(options, number);
  return option && decodeBlock(option.value);
}

/** {@link findBlock} where the option may be wrong, of a request that is refused for something else: undefined then. */
export function findGoodBlock(options: readonly Option[], number: number): Block | undefined {
  const option = findOption(options, number);
  return option !== undefined && isBlock(option.value) ? decodeBlock(option.value) : undefined;
}
