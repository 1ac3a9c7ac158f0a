import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findExecutable } from "./find-executable.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rollcall-test-"));
  for (const name of ["first", "second"]) {
    await mkdir(join(folder, name, "folder"), { recursive: true });
    await writeFile(join(folder, name, "tool"), "");
    await writeFile(join(folder, name, "text"), "");
    await chmod(join(folder, name, "tool"), 0o755);
  }
  await chmod(join(folder, "first", "tool"), 0o644);
  await symlink(join(folder, "second", "tool"), join(folder, "first", "link"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe.skipIf(process.platform === "win32")("findExecutable", () => {
  const find = (name: string): Promise<string | undefined> =>
    findExecutable(name, ["", join(folder, "nowhere"), join(folder, "first"), join(folder, "second")].join(delimiter));

  it("takes the first one on the search path that may be run, links too", async () => {
    expect(await find("tool")).toBe(join(folder, "second", "tool"));
    expect(await find("link")).toBe(join(folder, "first", "link"));
  });

  it("finds neither folders, nor plain files, nor what is not there", async () => {
    expect([await find("folder"), await find("text"), await find("nothing")]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it("takes a path for a path", async () => {
    expect(await find(join(folder, "second", "tool"))).toBe(join(folder, "second", "tool"));
    expect(await find(join(folder, "first", "tool"))).toBeUndefined();
    expect(await find("./tool")).toBeUndefined();
  });
});
