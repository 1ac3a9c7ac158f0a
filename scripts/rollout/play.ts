import type { Mix } from "./client-worker.ts";
import type { Framework } from "./framework.ts";
import type { Stage } from "./stage.ts";
import type { Way } from "./way.ts";

/** One thing that operators do, or that happens to them, while calls stream in. */
export interface Play {
  /** For `--only`. */
  readonly name: string;
  /** For the table. */
  readonly title: string;
  /** With which kinds of server. */
  readonly frameworks: readonly Framework[];
  readonly way: Way;
  readonly mix: Mix;
  /** How many servers there are in the beginning. Default: as the pace says. */
  readonly servers?: number;
  /** Left out of the short form. */
  readonly long?: true;
  /** Makes it happen. What it throws breaks the play. */
  run(stage: Stage): Promise<void>;
}
