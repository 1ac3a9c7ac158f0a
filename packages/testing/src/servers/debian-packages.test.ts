import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { unpackDebian } from "./debian-packages.ts";

/** The real apt is exercised whenever a test starts a server on a machine that has nothing else; this is about the rest. */
const debian = { suite: "bullseye", packages: ["consul"], binary: "usr/bin/consul" };
const TARGETS = "http://one.test/debian/|Debian|Debian\\nhttp://two.test/debian/|Debian|Debian\\n";
const DOWNLOAD = `
*" update") cat sources.list >> "$LOG";;
*" download consul") echo package > consul_1_all.deb;;`;
const EXTRACT = `mkdir -p "$3/usr/bin"; printf '#!/bin/sh\\n' > "$3/usr/bin/consul"; chmod +x "$3/usr/bin/consul"`;

let folder: string;
let cache: string;
let env: NodeJS.ProcessEnv;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rollcall-test-"));
  cache = join(folder, "cache");
  await mkdir(cache);
  const tools = join(folder, "tools");
  await mkdir(tools);
  env = { PATH: `${tools}${delimiter}${process.env["PATH"] ?? ""}`, LOG: join(folder, "log") };
});

afterEach(() => rm(folder, { recursive: true, force: true }));

async function tool(name: string, script: string): Promise<void> {
  const path = join(folder, "tools", name);
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
}

const aptGet = (cases: string, targets = TARGETS): Promise<void> =>
  tool("apt-get", `case "$*" in\nindextargets*) printf '${targets}';;${cases}\nesac`);

describe.skipIf(process.platform === "win32")("unpackDebian", () => {
  it("downloads with a configuration of its own, unpacks, and leaves nothing but the result", async () => {
    await aptGet(DOWNLOAD);
    await tool("dpkg-deb", EXTRACT);
    const binary = await unpackDebian(debian, cache, env);
    expect(binary).toBe(join(cache, `debian-bullseye-consul-${process.arch}`, "usr/bin/consul"));
    expect(await readFile(join(folder, "log"), "utf8")).toMatch(
      /^deb \[target=Packages lang=none.*\] http:\/\/one\.test\/debian bullseye main\n$/,
    );
    expect(await readdir(cache)).toEqual([`debian-bullseye-consul-${process.arch}`]);
  });

  it("asks nobody when the cache has it", async () => {
    await aptGet(DOWNLOAD);
    await tool("dpkg-deb", EXTRACT);
    const first = await unpackDebian(debian, cache, env);
    await aptGet("\n*) exit 1;;");
    expect(await unpackDebian(debian, cache, env)).toBe(first);
  });

  it("gives all of several that do it at once the same binary", async () => {
    await aptGet(DOWNLOAD);
    await tool("dpkg-deb", `sleep 0.0$(( $$ % 10 )); ${EXTRACT}`);
    const binaries = await Promise.all(Array.from({ length: 6 }, () => unpackDebian(debian, cache, env)));
    expect(new Set(binaries).size).toBe(1);
    expect(await readdir(cache)).toEqual([`debian-bullseye-consul-${process.arch}`]);
  });

  it("lets links lead to what was unpacked, not to what the machine has there", async () => {
    await aptGet(DOWNLOAD);
    await tool(
      "dpkg-deb",
      `${EXTRACT}; mkdir -p "$3/etc"; echo ours > "$3/etc/passwd"; cd "$3/usr"
      ln -s /etc/passwd there; ln -s /etc/group elsewhere; ln -s bin/consul here`,
    );
    const usr = join(dirname(await unpackDebian(debian, cache, env)), "..");
    expect(await readFile(join(usr, "there"), "utf8")).toBe("ours\n");
    expect(await readlink(join(usr, "elsewhere"))).toBe("/etc/group");
    expect(await readlink(join(usr, "here"))).toBe("bin/consul");
  });

  it("makes the binary of packages that have none that runs there", async () => {
    await aptGet(DOWNLOAD);
    await tool("dpkg-deb", `mkdir -p "$3/usr/share"`);
    const launcher = "#!/bin/sh\necho launched $1\n";
    const binary = await unpackDebian({ ...debian, binary: "usr/lib/it/run", launcher }, cache, env);
    expect(execFileSync(binary, ["well"], { encoding: "utf8" })).toBe("launched well\n");
  });

  it("goes on to the next archive, and tells about all of them if none has the packages", async () => {
    await aptGet(
      `\n*" update") grep -q two.test sources.list || { echo "E: no such suite" >&2; exit 100; };;\n*" download consul") echo x > a.deb;;`,
    );
    await tool("dpkg-deb", EXTRACT);
    await expect(unpackDebian(debian, cache, env)).resolves.toContain("usr/bin/consul");

    await rm(cache, { recursive: true });
    await mkdir(cache);
    await aptGet(`\n*" update") ;;\n*) echo "E: Unable to locate package consul" >&2; exit 100;;`);
    const error = await unpackDebian(debian, cache, env).catch(String);
    expect(error).toContain("http://one.test/debian bullseye: apt-get: E: Unable to locate package consul");
    expect(error).toContain("http://two.test/debian bullseye: apt-get: E: Unable to locate package consul");
    expect(await readdir(cache)).toEqual([]);
  });

  it("says so when the packages do not hold the binary", async () => {
    await aptGet(DOWNLOAD);
    await tool("dpkg-deb", `mkdir -p "$3/usr/share"`);
    await expect(unpackDebian(debian, cache, env)).rejects.toThrow("the packages hold no usr/bin/consul");
  });

  it("says so when this is no Debian", async () => {
    await expect(unpackDebian(debian, cache, { PATH: cache })).rejects.toThrow("there is no apt-get here");
  });
});
