import type { Row } from "./row.ts";
import { networkRows } from "./rows/network-rows.ts";
import { processRows } from "./rows/process-rows.ts";
import { registryRows } from "./rows/registry-rows.ts";

/** The whole suite, in the order of the table. */
export const rows: readonly Row[] = [...registryRows, ...networkRows, ...processRows];
