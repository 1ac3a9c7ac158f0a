import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const core = new URL("../src/index.ts", import.meta.url).href;

/** How a process ended that ran this code as a module. */
interface Ending {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly tookMs: number;
}

/** Runs `code` in a process of its own, with Rollcall's names in scope as `core`. One that hangs is killed. */
function run(code: string): Promise<Ending> {
  const program = `import * as core from ${JSON.stringify(core)};\n${code}`;
  const options = { cwd: fileURLToPath(new URL("..", import.meta.url)), timeout: 20_000 };
  const begin = performance.now();
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ["--conditions=@rollcall/source", "--no-warnings", "--input-type=module", "--eval", program],
      options,
      (_error, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr, tookMs: performance.now() - begin }),
    );
  });
}

const INIT = `{ service: "lorem", host: "10.0.0.1", port: 80 }`;

/** A source that can never be reached, one that is parked for ever, and a sink that never answers. None holds a handle. */
const HANGING = `
  const failing = { name: "failing", async *watch() { throw new Error("down"); } };
  const parked = { name: "parked", async *watch() { await new Promise(() => {}); } };
  const mute = { name: "mute", register: () => new Promise(() => {}) };
  /** Time that runs a hundred times as fast. */
  const env = { after: (ms, run, options) => core.systemEnv.after(ms / 100, run, options) };
`;

describe("a process", () => {
  it("ends by itself although nothing was closed: watches, back-offs, renewals and grace periods hold it up for nothing", async () => {
    const ending = await run(`${HANGING}
      const registry = core.memoryRegistry({ ttlMs: 30_000 });
      registry.instancer("lorem").subscribe(() => {});
      await registry.registrar(${INIT}).register();
      core.createInstancer("lorem", failing).subscribe(() => {});
      core.createInstancer("lorem", parked).subscribe(() => {});
      const lost = core.memoryRegistry({ ttlMs: 30_000 });
      lost.instancer("lorem").subscribe(() => {});
      await lost.registrar(${INIT}).register();
      await new Promise((resolve) => setTimeout(resolve, 20));
      lost.wipe();
      await new Promise((resolve) => setTimeout(resolve, 600));
      console.log("done");
    `);
    expect(ending).toMatchObject({ code: 0, stdout: "done\n", stderr: "" });
    expect(ending.tookMs).toBeLessThan(10_000);
  });

  it("ends by itself although a registration is tried again and again in the background", async () => {
    const ending = await run(`
      const registry = core.memoryRegistry();
      registry.stop();
      void registry.registrar(${INIT}).register();
      await registry.registrar({ ...${INIT}, port: 81 }).register().catch((error) => console.log(error.message));
    `);
    expect(ending).toMatchObject({ code: 0, stdout: "memory registry is stopped\n", stderr: "" });
  });

  it("stays until what it awaits has settled, though nothing else would keep it", async () => {
    const ending = await run(`${HANGING}
      const instance = core.createInstance(${INIT});
      const registrar = core.createRegistrar(instance, mute, { env });
      await registrar.register().catch((error) => console.log("first", error.code));
      await new Promise((resolve) => setTimeout(resolve, 10));
      await registrar.register().catch((error) => console.log("second", error.code));
      const stuck = { name: "stuck", register: async () => ({ remove: () => new Promise(() => {}) }) };
      const stuckRegistrar = core.createRegistrar(instance, stuck, { env });
      await stuckRegistrar.register();
      await stuckRegistrar.deregister().catch((error) => console.log("third", error.code));
      await stuckRegistrar.close();
      console.log("done");
    `);
    expect(ending.stdout).toBe("first TIMEOUT\nsecond TIMEOUT\nthird TIMEOUT\ndone\n");
    expect(ending).toMatchObject({ code: 0, stderr: "" });
  });

  it("is not harmed by listeners that throw or reject, nor by a registration that nobody looks at", async () => {
    const ending = await run(`${HANGING}
      const registry = core.memoryRegistry();
      const instancer = registry.instancer("lorem");
      instancer.subscribe(() => { throw new Error("thrown"); });
      instancer.subscribe(async () => { throw new Error("rejected"); });
      await registry.registrar(${INIT}).register();
      core.createRegistrar(core.createInstance(${INIT}), mute, { env }).register();
      registry.stop();
      registry.registrar({ ...${INIT}, port: 81 }).register();
      await new Promise((resolve) => setTimeout(resolve, 200));
      await registry.close();
      console.log("done");
    `);
    expect(ending).toMatchObject({ code: 0, stdout: "done\n", stderr: "" });
  });
});
