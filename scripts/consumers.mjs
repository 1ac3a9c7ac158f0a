#!/usr/bin/env node
// `npm run consumers`: packs every package as it would be published, installs the tarballs into programs outside of this
// repository (../consumers), compiles them there with their own TypeScript and runs them: ESM, CommonJS, Express, Nest.
// Also bundles what an application usually takes of core, and weighs it. `-- nest` plays only those whose names begin so.
import { execFile } from "node:child_process";
import { cpSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

const root = join(import.meta.dirname, "..");
const run = promisify(execFile);

/** Each program, and what takes the place of a `*` among its dependencies. */
const CONSUMERS = [
  { name: "esm", folder: "esm", versions: {} },
  { name: "commonjs", folder: "commonjs", versions: {} },
  { name: "express-5", folder: "express", versions: { express: "^5.0.0", "@types/express": "^5.0.0" } },
  { name: "express-4", folder: "express", versions: { express: "~4.18.0", "@types/express": "^4.17.0" } },
  { name: "nest-12", folder: "nest", versions: nest(12, 12, 12) },
  { name: "nest-11", folder: "nest", versions: nest(11, 11, 4) },
];

function nest(major, terminus, axios) {
  const own = ["common", "core", "platform-express", "cli"].map((name) => [`@nestjs/${name}`, `^${major}.0.0`]);
  return { ...Object.fromEntries(own), "@nestjs/terminus": `^${terminus}.0.0`, "@nestjs/axios": `^${axios}.0.0` };
}

/** What of core a usual application uses. The default policy comes with the client; the other policies must stay out. */
const USUAL = ["createClient", "retry", "roundRobin"];
/** What it may have to carry for that, bundled, minified and compressed. */
const MOST_BYTES = 12_000;

const work = mkdtempSync(join(tmpdir(), "rollcall-consumers-"));
const failures = [];
process.once("exit", () => rmSync(work, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));

const chosen = CONSUMERS.filter(({ name }) => name.startsWith(process.argv[2] ?? ""));
if (chosen.length === 0) {
  process.stderr.write(`consumers: there is none that begins with "${process.argv[2]}"\n`);
  process.exit(2);
}
await step("core, bundled", weighCore);
const tarballs = await pack();
for (const consumer of chosen) await step(consumer.name, () => play(consumer));
if (failures.length > 0) {
  process.stderr.write(`\n${failures.join("\n\n")}\n`);
  process.exit(1);
}

async function step(name, work) {
  const startedAt = performance.now();
  const seconds = () => `${((performance.now() - startedAt) / 1_000).toFixed(1)} s`;
  try {
    process.stdout.write(`ok      ${name}: ${await work()} (${seconds()})\n`);
  } catch (error) {
    process.stdout.write(`NOT OK  ${name} (${seconds()})\n`);
    failures.push(`${name}: ${error.message}\n${error.stdout ?? ""}${error.stderr ?? ""}`.trim());
  }
}

/** The tarball of each package, by its name. */
async function pack() {
  const folders = globSync("packages/*/package.json", { cwd: root }).map((file) => join(root, file, ".."));
  const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", work, ...folders]);
  const packed = Object.values(JSON.parse(stdout));
  return new Map(packed.map(({ name, filename }) => [name, join(work, basename(filename))]));
}

async function play({ name, folder, versions }) {
  const cwd = join(work, name);
  cpSync(join(root, "consumers", folder), cwd, { recursive: true });
  const file = join(cwd, "package.json");
  const manifest = JSON.parse(readFileSync(file, "utf8"));
  for (const kind of ["dependencies", "devDependencies"]) {
    for (const [dependency, version] of Object.entries(manifest[kind])) {
      if (version === "*") manifest[kind][dependency] = versions[dependency] ?? `file:${tarballs.get(dependency)}`;
    }
  }
  // What they depend on among themselves is not in any registry yet.
  manifest.overrides = Object.fromEntries(
    [...tarballs].filter(([own]) => manifest.dependencies[own] === undefined).map(([own, at]) => [own, `file:${at}`]),
  );
  writeFileSync(file, JSON.stringify(manifest, undefined, 2));
  // What npm has in its cache need not be newest: a registry that is slow or away must not decide this.
  const install = ["install", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"];
  await run("npm", install, { cwd, timeout: 300_000 });
  await run("npm", ["ls", "--all"], { cwd, maxBuffer: 1e8 }); // complains of peers that do not fit
  await run("npm", ["run", "build"], { cwd });
  // Ends by itself: whatever it closed must leave nothing behind that keeps a process alive.
  const { stdout, stderr } = await run(process.execPath, ["dist/main.js"], { cwd, timeout: 20_000 });
  if (stdout.trim() !== "ok" || stderr !== "") throw new Error(`it said: ${stdout}${stderr}`);
  return Object.entries(versions).length === 0 ? "installed, compiled, ran" : describe(cwd, versions);
}

/** Which versions it ran with. */
function describe(cwd, versions) {
  const version = (name) => JSON.parse(readFileSync(join(cwd, "node_modules", name, "package.json"), "utf8")).version;
  return Object.keys(versions)
    .map((name) => `${name} ${version(name)}`)
    .join(", ");
}

async function weighCore() {
  const usual = await weigh(`{ ${USUAL.join(", ")} }`);
  const all = await weigh("*");
  const size = `${kilobytes(usual)} compressed, of at most ${kilobytes(MOST_BYTES)} (all of it: ${kilobytes(all)})`;
  if (usual > MOST_BYTES) throw new Error(size);
  return size;
}

/** What a bundle of these exports of core, and of what they need, weighs: minified and compressed. */
async function weigh(exported) {
  const input = join(work, "weighed.js");
  writeFileSync(input, `export ${exported} from ${JSON.stringify(join(root, "packages/core/dist/index.js"))};\n`);
  const bundle = await rolldown({ input, platform: "node" });
  const { output } = await bundle.generate({ format: "esm", minify: true });
  return gzipSync(output.map((chunk) => chunk.code).join("")).length;
}

function kilobytes(bytes) {
  return `${(bytes / 1_000).toFixed(1)} kB`;
}
