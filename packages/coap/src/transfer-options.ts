import { decodeBlock, type Block } from "./block-option.ts";
import type { Option } from "./message.ts";
import { findOption } from "./options.ts";

/** The first Block option of this number. Throws FormatError as decodeBlock does. */
export function findBlock(options: readonly Option[], number: number): Block | undefined {
  const option = findOption(options, number);
  return option && decodeBlock(option.value);
}
