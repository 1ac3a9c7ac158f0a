const announced = new Set<string>();

/**
 * Whether `SKIP_SERVERS` (names with commas between them: `consul,etcd`) says to leave out the tests that need this
 * server. That is the only way to skip them, and it is never silent: the first "yes" is written to stderr.
 *
 * ```ts
 * import { serverSkipped } from "@rollcall/testing/servers";
 * import { describe, it } from "vitest";
 * describe.skipIf(serverSkipped("consul"))("against a real Consul", () => {
 *   it("registers", () => {});
 * });
 * ```
 */
export function serverSkipped(name: string, env: NodeJS.ProcessEnv = process.env): boolean {
  const names = (env["SKIP_SERVERS"] ?? "").split(",").map((entry) => entry.trim().toLowerCase());
  const skipped = names.includes(name.toLowerCase());
  if (skipped && !announced.has(name)) {
    announced.add(name);
    process.stderr.write(`SKIP_SERVERS: the tests that need a real ${name} are left out\n`);
  }
  return skipped;
}
