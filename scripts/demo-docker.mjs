#!/usr/bin/env node
// `npm run demo:docker`: builds what it runs, and then plays ./demo/docker-demo.ts. With --if-possible a machine without
// Docker is no failure: for CI.
import { build, checkNode } from "./demo/prepare.mjs";

checkNode();
const [option, ...more] = process.argv.slice(2);
if ((option !== undefined && option !== "--if-possible") || more.length > 0) {
  process.stderr.write(`demo:docker: it takes --if-possible or nothing, not "${process.argv.slice(2).join(" ")}"\n`);
  process.exit(2);
}
build();
const { dockerDemo } = await import("./demo/docker-demo.ts");
process.exit(await dockerDemo({ ifPossible: option !== undefined }));
