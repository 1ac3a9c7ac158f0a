#!/usr/bin/env node
// `npm run soak`: runs ./soak/soak.ts, from source. Node strips the types; it has to be told where the source is.

const CONDITION = "--conditions=@rollcall/source";
if (!process.execArgv.includes(CONDITION)) {
  process.stderr.write(`soak: run it as "node ${CONDITION} scripts/soak.mjs", or as "npm run soak"\n`);
  process.exit(2);
}
const { readOptions } = await import("./soak/options.ts");
const options = readOptions(process.argv.slice(2));
if (typeof options === "number") process.exit(options);
const { soak } = await import("./soak/soak.ts");
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(130));
process.exit(await soak(options));
