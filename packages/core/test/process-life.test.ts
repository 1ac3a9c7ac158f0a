import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

/** Runs a module that imports core in a process of its own, with real timers; what it printed, once it ended by itself. */
async function run(body: string): Promise<string> {
  const script = `import * as core from "@rollcall/core"; ${body}`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=@rollcall/source", "--disable-warning=ExperimentalWarning", "--input-type=module", "--eval", script],
    { cwd: fileURLToPath(new URL("..", import.meta.url)), timeout: 20_000 },
  );
  return stdout.trim();
}

const INSTANCER = `const instancer = core.fixedInstancer("lorem", [{ service: "lorem", host: "10.0.0.1", port: 80 }]);`;

describe("a process", () => {
  it("ends though a factory is to be tried again, an endpoint drains and a set grows old", async () => {
    const out = await run(`${INSTANCER}
      core.createEndpointer(instancer, () => { throw new Error("down"); });
      const cache = core.createCache();
      const own = { service: "lorem", get snapshot() { return cache.snapshot; }, subscribe: cache.subscribe };
      cache.update(instancer.snapshot.instances);
      const drains = core.createEndpointer(own, () => "client", { staleAfterMs: 60_000 });
      core.createBalancer(drains).pick();
      cache.update([]);
      cache.update(instancer.snapshot.instances);
      cache.fail(new Error("the registry is down"));
      console.log(drains.endpoints.length);`);
    expect(out).toBe("1");
  });

  it("stays for a call that backs off, that waits, or whose function hangs, and for a close that drains", async () => {
    const out = await run(`${INSTANCER}
      const backsOff = core.createClient({ instancer, factory: () => 1, retry: { maxAttempts: 2, backoff: () => 150 } });
      await backsOff.call(() => { throw new Error("down"); }).catch(({ reason }) => console.log(reason));
      const waits = core.createClient({
        instancer: { ...instancer, snapshot: { state: "pending", revision: 0, instances: [] } },
        factory: () => 1,
        retry: { timeoutMs: 150 },
      });
      await waits.call(() => 1).catch(({ reason }) => console.log(reason));
      const hangs = core.createClient({ instancer, factory: () => 1, drainMs: 150, retry: { timeoutMs: 150 } });
      await hangs.call(() => new Promise(() => {})).catch(({ reason }) => console.log(reason));
      void hangs.call(() => new Promise(() => {}), { timeoutMs: Infinity });
      await hangs.close();
      console.log("closed");`);
    expect(out.split("\n")).toEqual(["attempts", "deadline", "deadline", "closed"]);
  });

  it("stays for who waits until a service is known, though the registry fails", async () => {
    const out = await run(`
      let asked = 0;
      const source = { name: "late", async *watch() { if (++asked < 3) throw new Error("down"); yield []; } };
      const client = core.createClient({ instancer: core.createInstancer("lorem", source), factory: () => 1 });
      const signal = AbortSignal.timeout(10); // which keeps no process alive either
      await client.ready({ signal }).catch(({ name }) => console.log(name));
      await client.ready();
      console.log(asked);`);
    expect(out.split("\n")).toEqual(["TimeoutError", "3"]);
  });

  it("hears of no unhandled rejection and no warning, whatever a call left behind", async () => {
    const out = await run(`${INSTANCER}
      process.on("unhandledRejection", () => console.log("unhandled"));
      process.on("warning", ({ name }) => console.log(name));
      const client = core.createClient({ instancer, factory: () => 1, retry: { timeoutMs: 30 } });
      const late = () => new Promise((_, reject) => setTimeout(reject, 60, new Error("late")));
      await Promise.allSettled(Array.from({ length: 50 }, () => client.call(late)));
      const signal = AbortSignal.timeout(10);
      await Promise.allSettled(Array.from({ length: 50 }, () => client.call(late, { signal })));
      await new Promise((resolve) => setTimeout(resolve, 100));
      await client.close();
      await client.call(late).catch(({ code }) => console.log(code));`);
    expect(out).toBe("CLOSED");
  });
});
