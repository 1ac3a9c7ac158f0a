#!/usr/bin/env node
// `npm run demo`: checks what it needs, builds what it runs, and then plays ./demo/demo.ts.
import { build, checkNode } from "./demo/prepare.mjs";

checkNode();
// First: what reads the options knows the registries, and these are of the packages.
build();
const { readOptions } = await import("./demo/options.ts");
const options = readOptions(process.argv.slice(2));
if (typeof options === "number") process.exit(options);
const { demo } = await import("./demo/demo.ts");
process.exit(await demo(options));
