import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { cacheFolder } from "./cache-folder.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rollcall-test-"));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

describe("cacheFolder", () => {
  it("lies at the top of the checkout, wherever in it one stands", async () => {
    const deep = join(folder, "packages/testing/src");
    await mkdir(deep, { recursive: true });
    await writeFile(join(folder, "package-lock.json"), "{}");
    expect(await cacheFolder(deep)).toBe(join(folder, ".cache/servers"));
    expect(await cacheFolder(deep)).toBe(join(folder, ".cache/servers"));
  });

  it("lies in the user's own cache folder if the checkout cannot be written to", async () => {
    await writeFile(join(folder, "package-lock.json"), "{}");
    // A file where the folder would be: nobody can write there, not even root.
    await writeFile(join(folder, ".cache"), "");
    expect(await cacheFolder(folder, { XDG_CACHE_HOME: join(folder, "xdg") })).toBe(
      join(folder, "xdg/rollcall/servers"),
    );
  });

  it("names what it tried if there is no place at all", async () => {
    await writeFile(join(folder, "package-lock.json"), "{}");
    await writeFile(join(folder, ".cache"), "");
    await expect(cacheFolder(folder, { XDG_CACHE_HOME: join(folder, ".cache") })).rejects.toThrow(
      `tried ${join(folder, ".cache/servers")} and ${join(folder, ".cache/rollcall/servers")}`,
    );
  });
});
