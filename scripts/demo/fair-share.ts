import type { Line } from "./line.ts";
import type { Tally } from "./load.ts";

/** A server that is called, and a word for it. */
interface Called {
  readonly framework: string;
  readonly instanceId: string;
}

/** The line of calls that all of these servers should have answered equally often. */
export function fairShare(title: string, tally: Tally, ...servers: readonly Called[]): Line {
  const shares = servers.map(({ instanceId }) => tally.answeredBy.get(instanceId) ?? 0);
  const ok = tally.failures.length === 0 && shares.every((share) => share === tally.calls / servers.length);
  const seen = servers.map(({ framework }, place) => `${framework} ${shares[place]}`).join(", ");
  return { title, tally, ok, seen };
}
