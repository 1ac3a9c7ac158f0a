// A server process that can be killed: registers what it is told, says so, and lives on.
import { consulRegistry } from "../src/index.ts";

const [url, init, ttlMs] = process.argv.slice(2);
const registry = consulRegistry({ url, check: { ttlMs: Number(ttlMs) } });
await registry.registrar(JSON.parse(init ?? "")).register();
process.stdout.write("registered\n");
setInterval(() => undefined, 60_000);
