import { missingDocker } from "./compose.ts";
import { dockerStage } from "./docker-stage.ts";
import { dockerStory } from "./docker-story.ts";
import { perform } from "./perform.ts";

/** What `npm run demo:docker` can be told. */
export interface DockerDemoOptions {
  /** Whether it is fine, and said, that there is no Docker here. */
  readonly ifPossible: boolean;
}

/** Plays the demo in containers. Resolves with the exit code, see {@link perform}. */
export async function dockerDemo({ ifPossible }: DockerDemoOptions): Promise<number> {
  const missing = await missingDocker();
  if (missing !== undefined) {
    process.stderr.write(`demo:docker: ${ifPossible ? "not played: " : ""}${missing}\n`);
    return ifPossible ? 0 : 1;
  }
  return perform({
    name: "demo:docker",
    opening: "Building the images and starting the containers …",
    set: dockerStage,
    story: dockerStory,
  });
}
