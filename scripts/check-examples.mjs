// Compiles every `ts` block of the READMEs, of docs/ and of the sources' comments, each as a module of its own, against
// the built packages. Needs a build. Prints the file and line of a block that does not compile; exits 1 if one does not.
import { execFileSync } from "node:child_process";
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const root = join(import.meta.dirname, "..");
const out = join(root, ".cache", "examples");

/** The blocks of one text: their code, and the line on which the code starts. */
function blocks(text) {
  const found = [];
  let open;
  for (const [index, raw] of text.split("\n").entries()) {
    // In a comment each line has a leading " * ".
    const line = raw.replace(/^\s*\*( |$)/, "");
    if (open === undefined) {
      if (/^\s*```ts\s*$/.test(line)) open = { line: index + 2, code: [] };
    } else if (/^\s*```\s*$/.test(line)) {
      found.push(open);
      open = undefined;
    } else {
      open.code.push(line);
    }
  }
  return found;
}

const files = globSync(
  ["README.md", "CONTRIBUTING.md", "docs/**/*.md", "{packages,apps}/*/README.md", "{packages,apps}/*/src/**/*.ts"],
  { cwd: root },
).filter((file) => !file.includes("node_modules") && !file.endsWith(".test.ts"));

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const origin = new Map();
for (const file of files.toSorted()) {
  for (const { line, code } of blocks(readFileSync(join(root, file), "utf8"))) {
    const name = `${file.replaceAll(/[^\w]+/g, "-")}-${line}.ts`;
    // `export {}` makes it a module of its own even if it imports nothing.
    writeFileSync(join(out, name), `${code.join("\n")}\nexport {};\n`);
    origin.set(name, { file, line });
  }
}
// What npm could not install at the root, because another version of something it needs is there.
for (const folder of globSync("packages/*/node_modules/{@*/*,[!.@]*}", { cwd: root })) {
  const name = folder.split("/node_modules/")[1];
  if (existsSync(join(root, "node_modules", name))) continue;
  const link = join(out, "node_modules", name);
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync(join(root, folder), link);
}
writeFileSync(
  join(out, "tsconfig.json"),
  JSON.stringify({
    extends: "../../tsconfig.base.json",
    compilerOptions: {
      composite: false,
      declaration: false,
      declarationMap: false,
      noEmit: true,
      customConditions: [],
      noUnusedLocals: false,
      experimentalDecorators: true,
      emitDecoratorMetadata: true,
      erasableSyntaxOnly: false,
      rootDir: "../..",
    },
    include: ["*.ts"],
  }),
);
try {
  execFileSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", out, "--pretty", "false"], {
    encoding: "utf8",
  });
} catch (error) {
  const report = String(error.stdout ?? error).replaceAll(/^\S*?([\w-]+\.ts)\((\d+),/gm, (all, name, line) => {
    const from = origin.get(name);
    return from === undefined ? all : `${from.file}(${from.line + Number(line) - 1},`;
  });
  process.stderr.write(report);
  process.stderr.write(`examples: not all of the ${origin.size} blocks compile\n`);
  process.exit(1);
}
process.stdout.write(`examples: ${origin.size} blocks compile\n`);
