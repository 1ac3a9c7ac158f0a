import type { Tally } from "./load.ts";

/** One line of the table at the end. */
export interface Line {
  readonly title: string;
  readonly tally?: Tally;
  /** What was seen, in words. */
  readonly seen: string;
  readonly ok: boolean;
}
