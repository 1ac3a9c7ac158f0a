import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

interface Ending {
  readonly code: number | null;
  /** What each `close()` took. */
  readonly tookMs: Readonly<Record<string, number>>;
  /** What would have kept the process alive after that. */
  readonly left: readonly string[];
  /** Calls that were under way, and how they ended. */
  readonly calls: readonly string[];
  /** From the last `close()` to the end of the process. */
  readonly outInMs: number;
}

/** Registries in all states; those that hang do not even react to an abort. */
const REGISTRIES = `
  const never = new Promise(() => {});
  const slowly = (value) => new Promise((resolve) => setTimeout(resolve, 2_000, value).unref());
  const backend = (watch, register) => core.createRegistry({
    name: "backend",
    source: () => ({ name: "backend", watch }),
    sink: () => ({ name: "backend", register }),
  });
  const registries = {
    well: () => core.memoryRegistry(),
    dead: () => {
      const registry = core.memoryRegistry();
      registry.stop();
      return registry;
    },
    hung: () => backend(async function* () { await never; }, () => never),
    slow: () => backend(
      async function* () { for (;;) { await slowly(); yield []; } },
      async () => slowly({ renewEveryMs: 10, renew: slowly, remove: slowly }),
    ),
    "hung since": () => backend(
      async function* () { yield [instance]; await never; },
      async () => ({ renewEveryMs: 10, renew: () => never, remove: () => never }),
    ),
  };
  const instance = core.createInstance({ service: "lorem", host: "10.0.0.1", port: 80 });
`;

/** Uses a registry in that state for a while, closes what `closes` lists, in that order, and has nothing else to do. */
async function leave(state: string, closes: readonly string[], more = ""): Promise<Ending> {
  const program = `import * as core from "@rollcall/core";
    ${REGISTRIES}
    const registry = registries[${JSON.stringify(state)}]();
    const instancer = registry.instancer("lorem");
    const options = { instancer, factory: () => 1, retry: { backoff: () => 5_000 } };
    ${more}
    const client = core.createClient(options);
    const registrar = registry.registrar(instance);
    registrar.register();
    const calls = [];
    const called = client.call(() => { throw new Error("down"); }).catch(({ name }) => calls.push(name));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const things = { registry, instancer, client, registrar };
    const tookMs = {};
    for (const name of ${JSON.stringify(closes)}) {
      const startMs = performance.now();
      { await using thing = things[name]; }
      tookMs[name] = performance.now() - startMs;
    }
    if (things.client && tookMs.client !== undefined) await called;
    await new Promise((resolve) => setImmediate(resolve));
    const left = process.getActiveResourcesInfo().filter((name) => !/^(Pipe|TTY|FSReq)/.test(name));
    console.log(JSON.stringify({ tookMs, left, calls }));
  `;
  const child = spawn(
    process.execPath,
    ["--conditions=@rollcall/source", "--no-warnings", "--input-type=module", "--eval", program],
    { cwd: fileURLToPath(new URL("..", import.meta.url)), stdio: ["ignore", "pipe", "inherit"], timeout: 20_000 },
  );
  let [stdout, saidMs] = ["", 0];
  child.stdout.on("data", (chunk) => {
    stdout += String(chunk);
    saidMs = performance.now();
  });
  const [code] = (await once(child, "exit")) as [number | null];
  const outInMs = performance.now() - saidMs;
  if (child.stdout.readable) await once(child.stdout, "close");
  return { code, outInMs, ...(JSON.parse(stdout) as Omit<Ending, "code" | "outInMs">) };
}

/** Gone by itself, each `close()` within three seconds, and nothing left. */
function expectGood({ code, tookMs, left, outInMs }: Ending, closes: readonly string[]): void {
  expect([code, left, Object.keys(tookMs)]).toEqual([0, [], closes]);
  expect(Math.max(0, ...Object.values(tookMs)), JSON.stringify(tookMs)).toBeLessThan(3_000);
  expect(outInMs).toBeLessThan(1_000);
}

describe.concurrent("a process whose registry", () => {
  const states = ["well", "dead", "hung", "slow", "hung since"];

  it.each(states)("is %s ends at once when all is closed, the own things first", async (state) => {
    const closes = ["client", "registrar", "instancer", "registry"];
    const ending = await leave(state, closes);
    expectGood(ending, closes);
    expect(ending.calls).toEqual(["ClosedError"]);
  });

  it.each(states)(
    "is %s ends at once when the registry is closed first, with all that was made from it",
    async (state) => {
      const closes = ["registry", "client", "registrar"];
      const ending = await leave(state, closes);
      expectGood(ending, closes);
      expect(ending.calls).toEqual(["ClosedError"]);
    },
  );

  it.each(states)(
    "is %s ends although only its client is closed, once no registration is awaited any more",
    async (state) => {
      const ending = await leave(state, ["client"]);
      expect(ending.code).toBe(0);
      expect(ending.tookMs["client"]).toBeLessThan(100);
      expect(ending.outInMs).toBeLessThan(6_000);
    },
  );
});

describe.concurrent("a process with a client", () => {
  const closes = ["client", "registry"];

  it.each([
    ["whose factory never answers", `options.factory = () => never;`],
    ["whose factory always fails", `options.factory = () => { throw new Error("no"); };`],
    ["whose clients do not close", `options.close = () => never;`],
    ["whose call is in a long back-off", ``],
    ["whose set grows old", `options.staleAfterMs = 60_000;`],
  ])("%s ends at once when it is closed", async (_, more) => {
    const ending = await leave("hung since", closes, more);
    expectGood(ending, closes);
    expect(ending.calls).toEqual(["ClosedError"]);
  });
});
