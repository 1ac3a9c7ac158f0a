import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const OLDEST = [22, 19];
const root = fileURLToPath(new URL("../..", import.meta.url));

/** Checks what a demo needs, before anything of it is loaded. Ends the process with one line if it is not there. */
export function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
    fail(
      `this is Node ${process.versions.node}; it needs ${OLDEST.join(".")} or newer. "npm run demo" brings its own.`,
    );
  }
  if (!existsSync(`${root}node_modules/typescript/bin/tsc`)) fail('nothing is installed yet: run "npm ci" first');
}

/** A fresh clone has no `dist`; where it is up to date already, this takes a moment. */
export function build() {
  const projects = ["apps/lorem-server", "apps/lorem-client", "packages/testing"];
  if (!projects.every((project) => existsSync(`${root}${project}/dist`))) process.stdout.write("Building, once …\n");
  const args = ["node_modules/typescript/bin/tsc", "-b", ...projects.map((project) => `${project}/tsconfig.lib.json`)];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8" });
  if (status !== 0) fail(`the build failed\n${stdout}${stderr}`);
}

function fail(message) {
  process.stderr.write(`demo: ${message}\n`);
  process.exit(1);
}
