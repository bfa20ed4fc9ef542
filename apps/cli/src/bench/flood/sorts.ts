import { COAP_SORTS } from "./coap-sorts.ts";
import { DTLS_SORTS } from "./dtls-sorts.ts";
import type { Sort } from "./sort.ts";

/**
 * All that a stranger can send without a key, one entry for each way through the server to where it is thrown away or answered.
 */
export const SORTS: readonly Sort[] = [...DTLS_SORTS, ...COAP_SORTS];
