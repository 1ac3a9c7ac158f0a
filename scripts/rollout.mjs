#!/usr/bin/env node
// `npm run rollout`: builds what the servers run, and then plays ./rollout/rollout.ts.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const CONDITION = "--conditions=@rollcall/source";
if (!process.execArgv.includes(CONDITION)) fail(`run it as "node ${CONDITION} scripts/rollout.mjs"`, 2);
const root = fileURLToPath(new URL("..", import.meta.url));
if (!existsSync(`${root}node_modules/typescript/bin/tsc`)) fail('nothing is installed yet: run "npm ci" first');

const { readOptions } = await import("./rollout/options.ts");
const options = readOptions(process.argv.slice(2));
if (typeof options === "number") process.exit(options);
build();
const { rollout } = await import("./rollout/rollout.ts");
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(130));
process.exit(await rollout(options));

/** What is deployed is what was built, as it would be published. Nest's decorators could not run from source, either. */
function build() {
  const projects = ["nestjs", "express", "consul", "etcd", "testing"].map(
    (name) => `packages/${name}/tsconfig.lib.json`,
  );
  const args = ["node_modules/typescript/bin/tsc", "-b", ...projects];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8" });
  if (status !== 0) fail(`the build failed\n${stdout}${stderr}`);
}

function fail(message, code = 1) {
  process.stderr.write(`rollout: ${message}\n`);
  process.exit(code);
}
