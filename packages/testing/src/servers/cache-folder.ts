import { access, constants, mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

/** What marks the top of a checkout. */
const MARKS = [".git", "package-lock.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock"];

/**
 * The folder where servers are kept between runs: `.cache/servers` at the top of the checkout that `start` lies in, or,
 * if there is none or it may not be written, `rollcall/servers` in the user's own cache folder. It exists and is
 * writable when this resolves. Never a folder that others may write to: binaries are run from it.
 */
export async function cacheFolder(start = process.cwd(), env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const checkout = await findUp(start);
  const candidates = [
    ...(checkout === undefined ? [] : [join(checkout, ".cache/servers")]),
    join(env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "rollcall/servers"),
  ];
  for (const folder of candidates) {
    try {
      await mkdir(folder, { recursive: true });
      await access(folder, constants.W_OK);
      return folder;
    } catch {
      // Not ours to write: the next one.
    }
  }
  throw new Error(`no folder can be written to keep a server in: tried ${candidates.join(" and ")}`);
}

async function findUp(start: string): Promise<string | undefined> {
  for (let folder = start; ; folder = dirname(folder)) {
    for (const mark of MARKS) {
      try {
        await access(join(folder, mark));
        return folder;
      } catch {
        // Not here.
      }
    }
    if (dirname(folder) === folder) return undefined;
  }
}
