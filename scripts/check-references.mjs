// The TypeScript project references are written by hand: checks that each package's tsconfig.lib.json references exactly
// the workspace packages in its package.json, and that the root tsconfig.json lists every package, and what is type-checked beside them.
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const root = join(import.meta.dirname, "..");
const json = (file) => JSON.parse(readFileSync(join(root, file), "utf8"));
const folders = globSync("{packages,apps}/*/package.json", { cwd: root }).map((file) => dirname(file));
const folderOf = new Map(folders.map((folder) => [json(`${folder}/package.json`).name, folder]));
const problems = [];

const same = (where, actual, expected) => {
  const [a, b] = [actual, expected].map((list) => list.toSorted().join(" "));
  if (a !== b) problems.push(`${where}\n  has      ${a}\n  expected ${b}`);
};

same(
  "tsconfig.json",
  json("tsconfig.json").references.map(({ path }) => path),
  [...folders, "bench", "scripts"],
);
for (const folder of folders) {
  const { dependencies = {}, peerDependencies = {} } = json(`${folder}/package.json`);
  const wanted = Object.keys({ ...dependencies, ...peerDependencies }).flatMap((name) => folderOf.get(name) ?? []);
  const { references = [] } = json(`${folder}/tsconfig.lib.json`);
  const actual = references.map(({ path }) => dirname(relative(root, join(root, folder, path))));
  same(`${folder}/tsconfig.lib.json`, actual, wanted);
}

if (problems.length > 0) {
  process.stderr.write(`${problems.join("\n")}\n`);
  process.exit(1);
}
process.stdout.write(`references: ${folders.length} packages agree with their package.json\n`);
