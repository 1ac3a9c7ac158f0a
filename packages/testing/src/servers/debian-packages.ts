import { execFile } from "node:child_process";
import {
  access,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  unlink,
  writeFile,
} from "node:fs/promises";
import { dirname, isAbsolute, join, relative } from "node:path";
import { promisify } from "node:util";
import { messageOf } from "@rollcall/core";
import {
  type AptArchive,
  type AptSource,
  debianArchives,
  INDEX_TARGET_FORMAT,
  parseDeb822Sources,
  parseSourcesList,
} from "./apt-archives.ts";
import { cacheFolder } from "./cache-folder.ts";
import { isExecutable } from "./find-executable.ts";
import type { ServerKind } from "./server-kind.ts";

/** Enough for a slow line, and an end to a dead one. */
const COMMAND_TIMEOUT_MS = 180_000;

/**
 * Gets a server's binary out of Debian's packages: downloads them with this machine's own apt, which checks signatures,
 * from the archive that it is configured for (but from the suite that has the server), and unpacks them into the cache
 * folder. Needs no root, installs nothing, leaves apt's own state alone, and does nothing when the cache has it already.
 * Resolves with the path of the binary, rejects with why it is impossible here.
 *
 * Several processes may do this at once: each works in a folder of its own and renames the result into place, which
 * only one of them can; the others use that.
 */
export async function unpackDebian(
  debian: ServerKind["debian"],
  cache?: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  const root = cache ?? (await cacheFolder());
  const folder = join(root, `debian-${debian.suite}-${debian.packages.join("-")}-${process.arch}`);
  const binary = join(folder, debian.binary);
  if (await isExecutable(binary)) return binary;

  const archives = await findArchives(env);
  const failures: string[] = [];
  for (const archive of archives) {
    const work = await mkdtemp(join(root, "unpacking-"));
    try {
      await fetchAndUnpack(debian, archive, work, env);
      await moveInto(join(work, "root"), folder);
      if (await isExecutable(binary)) return binary;
      failures.push(`${archive.uri} ${debian.suite}: the packages hold no ${debian.binary}`);
    } catch (error) {
      failures.push(`${archive.uri} ${debian.suite}: ${messageOf(error)}`);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }
  throw new Error(failures.length > 0 ? failures.join("\n") : "apt is configured for no archive of Debian");
}

async function findArchives(env: NodeJS.ProcessEnv): Promise<AptArchive[]> {
  const targets = await run("apt-get", ["indextargets", "--format", INDEX_TARGET_FORMAT, "Created-By: Packages"], env);
  return debianArchives(targets, await readSources());
}

async function readSources(): Promise<AptSource[]> {
  const parts = "/etc/apt/sources.list.d";
  const names = await readdir(parts).catch(() => []);
  const files = ["/etc/apt/sources.list", ...names.map((name) => join(parts, name))];
  const read = await Promise.all(
    files.map(async (file) => {
      const text = await readFile(file, "utf8").catch(() => "");
      if (file.endsWith(".list")) return parseSourcesList(text);
      return file.endsWith(".sources") ? parseDeb822Sources(text) : [];
    }),
  );
  return read.flat();
}

async function fetchAndUnpack(
  debian: ServerKind["debian"],
  archive: AptArchive,
  work: string,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const root = join(work, "root");
  for (const folder of [root, join(work, "state/lists/partial"), join(work, "cache/archives/partial")]) {
    await mkdir(folder, { recursive: true });
  }
  const signedBy = archive.signedBy ?? (await defaultKeyring());
  const options = ["target=Packages", "lang=none", ...(signedBy === undefined ? [] : [`signed-by=${signedBy}`])];
  await writeFile(join(work, "sources.list"), `deb [${options.join(" ")}] ${archive.uri} ${debian.suite} main\n`);
  await writeFile(join(work, "apt.conf"), aptConfiguration(work));
  const apt = (...args: string[]): Promise<string> =>
    run("apt-get", ["-qq", "-c", join(work, "apt.conf"), ...args], env, work);
  await apt("update");
  await apt("download", ...debian.packages);
  for (const name of (await readdir(work)).filter((entry) => entry.endsWith(".deb"))) {
    await run("dpkg-deb", ["--extract", join(work, name), root], env);
  }
  await relink(root);
  if (debian.launcher === undefined) return;
  const binary = join(root, debian.binary);
  await mkdir(dirname(binary), { recursive: true });
  await writeFile(binary, debian.launcher, { mode: 0o755 });
}

/** Lets links to `/etc/…` lead to where that was unpacked; what the packages do not have stays as it is. */
async function relink(root: string): Promise<void> {
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) continue;
    const link = join(entry.parentPath, entry.name);
    const target = await readlink(link);
    if (!isAbsolute(target) || !(await lstat(join(root, target)).catch(() => undefined))) continue;
    await unlink(link);
    await symlink(relative(entry.parentPath, join(root, target)), link);
  }
}

/**
 * Read after the machine's own configuration, so that its proxies and certificates stay in force, while everything that
 * apt writes goes to `work`, and what others hooked into an update (caches, notifications) does not run.
 */
function aptConfiguration(work: string): string {
  return `
Dir::State "${work}/state";
Dir::State::lists "${work}/state/lists";
Dir::State::status "/dev/null";
Dir::Cache "${work}/cache";
Dir::Log "${work}";
Dir::Etc::sourcelist "${work}/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "${work}/root";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
`;
}

/** Debian's own keyring, for archives whose configuration names none. */
async function defaultKeyring(): Promise<string | undefined> {
  for (const suffix of ["gpg", "pgp"]) {
    const path = `/usr/share/keyrings/debian-archive-keyring.${suffix}`;
    try {
      await access(path);
      return path;
    } catch {
      // Under the other name, or not at all: apt then uses the keys that it trusts anyway.
    }
  }
  return undefined;
}

async function moveInto(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    // Somebody else was faster; what is there now was put there whole.
    if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
  }
}

async function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv, cwd?: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(command, args, {
      cwd,
      env: { ...env, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" },
      timeout: COMMAND_TIMEOUT_MS,
      maxBuffer: 1 << 26,
    });
    return stdout;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      throw new Error(`there is no ${command} here`, { cause: error });
    }
    const output = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : "";
    throw new Error(`${command}: ${output || messageOf(error)}`, { cause: error });
  }
}
