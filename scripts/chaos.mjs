#!/usr/bin/env node
// `npm run chaos`: plays ./chaos/chaos.ts, from source. Node strips the types; it has to be told where the source is.

const CONDITION = "--conditions=@rollcall/source";
if (!process.execArgv.includes(CONDITION)) {
  process.stderr.write(`chaos: run it as "node ${CONDITION} scripts/chaos.mjs", or as "npm run chaos"\n`);
  process.exit(2);
}
const { readOptions } = await import("./chaos/options.ts");
const options = readOptions(process.argv.slice(2));
if (typeof options === "number") process.exit(options);
const { chaos } = await import("./chaos/chaos.ts");
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(130));
process.exit(await chaos(options));
