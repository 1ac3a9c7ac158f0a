#!/usr/bin/env node
// `npm run simulate`: runs ./simulate/simulate-all.ts, from source. Node strips the types; it has to be told where the source is.

const CONDITION = "--conditions=@rollcall/source";
if (!process.execArgv.includes(CONDITION)) {
  process.stderr.write(`simulate: run it as "node ${CONDITION} scripts/simulate.mjs", or as "npm run simulate"\n`);
  process.exit(2);
}
const { readOptions } = await import("./simulate/options.ts");
const options = readOptions(process.argv.slice(2));
if (typeof options === "number") process.exit(options);
const { simulateAll } = await import("./simulate/simulate-all.ts");
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(130));
await simulateAll(options);
