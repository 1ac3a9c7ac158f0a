import type { DemoOptions } from "./options.ts";
import { memoryStage } from "./memory-stage.ts";
import { perform } from "./perform.ts";
import { processStage } from "./process-stage.ts";
import type { Stage } from "./stage.ts";
import { story } from "./story.ts";

/** Plays the demo. Resolves with the exit code, see {@link perform}. */
export function demo({ kind, url, keep }: DemoOptions): Promise<number> {
  return perform({
    name: "demo",
    opening:
      kind !== undefined && url === undefined ? `Looking for ${kind.title}, or starting it …` : "Setting the stage …",
    set: () => (kind === undefined ? memoryStage() : processStage(kind, url)),
    story,
    encore: keep ? whatToTry : undefined,
  });
}

function whatToTry({ clientUrl }: Stage): string {
  return [
    "It is left running. Try this, more than once, and look at the x-instance header:",
    `  curl -i -X POST ${clientUrl}/sd-lorem -H 'content-type: application/json' -d '{"requestType":"word","min":3,"max":10}'`,
    `  curl -i -X POST ${clientUrl}/api/lorem/sentence/3/10     # the same through the gateway`,
    `  curl ${clientUrl}/sd-lorem/instances                     # what the client knows`,
    "Ctrl-C ends it.",
  ].join("\n");
}
