import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { writeBetween } from "../../scripts/document.ts";

const DOCUMENT = new URL("../../docs/performance.md", import.meta.url);

/**
 * Prints what a benchmark has found, and on what; with `--write` on the command line, which every benchmark takes, puts it
 * into docs/performance.md between the markers of this name, too.
 *
 * @param versionsOf the packages whose versions matter for it
 */
export async function record(name: string, text: string, versionsOf: readonly string[] = []): Promise<void> {
  const versions = versionsOf.map((each) => `${each} ${versionOf(each)}`);
  const [cpu] = cpus();
  const machine = [`${cpus().length} × ${cpu?.model.trim()}`, `Node.js ${process.versions.node}`, ...versions].join(
    ", ",
  );
  const whole = `${text.trim()}\n\n${machine}; \`npm run ${name} -w bench\``;
  process.stdout.write(`${whole}\n`);
  if (process.argv.includes("--write")) await writeBetween(DOCUMENT, name, whole);
}

/** Also of those that do not let their `package.json` be loaded. */
function versionOf(name: string): string {
  for (const folder of createRequire(import.meta.url).resolve.paths(name) ?? []) {
    try {
      const { version } = JSON.parse(readFileSync(`${folder}/${name}/package.json`, "utf8")) as { version: string };
      return version;
    } catch {
      // Then in the next one.
    }
  }
  throw new Error(`${name} is not installed`);
}
