// A process that leaves: watches, announces and calls, and at SIGTERM closes one thing, or forgets to, and has nothing
// else to do. It says what it does, a line of JSON each.
import { createClient } from "@rollcall/core";
import { consulRegistry } from "../src/index.ts";

const [url = "", service = "", closes = ""] = process.argv.slice(2);
const say = (message: object): void => void process.stdout.write(`${JSON.stringify(message)}\n`);

const registry = consulRegistry({ url, check: { ttlMs: 3_000 } });
const instancer = registry.instancer(service);
const client = createClient({ instancer, factory: ({ port }) => port, close: () => undefined });
const registrar = registry.registrar({ service, id: `${service}-${closes}`, host: "10.0.0.1", port: 80 });
const things = new Map(Object.entries({ registry, instancer, client, registrar }));

const busy = setInterval(() => undefined, 60_000);
async function leave(): Promise<void> {
  clearInterval(busy);
  const startMs = performance.now();
  {
    await using _thing = things.get(closes);
  }
  const closedInMs = performance.now() - startMs;
  // After what the closing itself has still to do in this turn.
  await new Promise((resolve) => setImmediate(resolve));
  say({ closedInMs, left: process.getActiveResourcesInfo().filter((name) => !/^(Pipe|TTY|FSReq)/.test(name)) });
}
process.once("SIGTERM", () => void leave());
registrar.register().then(
  () => say({ registered: true }),
  (error: Error) => say({ registered: false, because: error.message }),
);
// A call is awaited, and keeps the process alive for as long as it may take: only closing the client ends it.
if (closes === "client") client.call(() => undefined).catch(({ code }) => say({ code }));
say({ started: true });
