import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const OPTIONAL = ["@nestjs/terminus", "@nestjs/axios", "axios"];

/** All packages that declarations import, from one of them on. */
function typeImports(file: string, seen = new Set<string>(), packages = new Set<string>()): Set<string> {
  if (seen.has(file)) return packages;
  seen.add(file);
  for (const [, name = ""] of readFileSync(file, "utf8").matchAll(/(?:from|import\()\s*"([^"]+)"/g)) {
    if (name.startsWith("."))
      typeImports(join(dirname(file), name.replace(/(?<!\.d)\.[jt]s$/, ".d.ts")), seen, packages);
    else packages.add(name);
  }
  return packages;
}

describe("optional peers", () => {
  it.each<[string, readonly string[]]>([
    ["@rollcall/nestjs", []],
    ["@rollcall/nestjs/terminus", ["@nestjs/terminus"]],
    ["@rollcall/nestjs/axios", ["@nestjs/axios", "axios"]],
  ])("%s loads %o of them", async (entry, expected) => {
    const script = `
      import { registerHooks } from "node:module";
      const loaded = new Set();
      registerHooks({ resolve: (name, context, next) => {
        if (context.parentURL?.includes("/packages/nestjs/") || name.startsWith("@nestjs/axios")) loaded.add(name);
        if (context.parentURL?.includes("/@nestjs/axios/")) loaded.add(name);
        return next(name, context);
      } });
      await import(${JSON.stringify(entry)});
      process.stdout.write(JSON.stringify([...loaded]));`;
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
      cwd: import.meta.dirname,
    });
    const loaded = JSON.parse(stdout) as string[];
    expect(loaded).toContain("@rollcall/core");
    expect(OPTIONAL.filter((name) => loaded.includes(name))).toEqual(expected);
  });

  it("are not in the types of the main entry", () => {
    const packages = typeImports(join(import.meta.dirname, "../dist/index.d.ts"));
    expect(packages).toContain("@nestjs/common");
    expect(OPTIONAL.filter((name) => packages.has(name))).toEqual([]);
    expect(typeImports(join(import.meta.dirname, "../dist/axios.d.ts"))).toContain("axios");
  });
});
