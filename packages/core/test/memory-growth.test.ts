import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { manualClock, scriptedSink } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import {
  type Instancer,
  type Source,
  createCache,
  createClient,
  createInstance,
  createInstancer,
  createRegistrar,
  memoryRegistry,
} from "../src/index.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const a = createInstance({ service: "lorem", host: "10.0.0.1", port: 80 });
const ignore = (): void => undefined;
const never = (): Promise<never> => new Promise(() => undefined);

/** By how many bytes the heap grows per round, when the first rounds have warmed everything up. */
async function growth(rounds: number, round: () => Promise<unknown>): Promise<number> {
  const used = async (): Promise<number> => {
    for (let time = 0; time < 3; time++) {
      await new Promise((resolve) => setImmediate(resolve));
      collect();
    }
    return process.memoryUsage().heapUsed;
  };
  for (let warm = 0; warm < rounds; warm++) await round();
  const before = await used();
  for (let each = 0; each < rounds; each++) await round();
  return ((await used()) - before) / rounds;
}

// A retained promise, closure or listener is worth a hundred bytes and more; less than that is the noise of the heap.
const NOTHING = 60;

describe("memory does not grow", () => {
  it("with watches that fail, are lost and answer, again and again", async () => {
    const clock = manualClock();
    let watches = 0;
    const source: Source = {
      name: "restless",
      async *watch() {
        if (++watches % 3 === 0) throw new Error("down");
        yield watches % 2 === 0 ? [a] : [];
      },
    };
    await using instancer = createInstancer("lorem", source, { env: clock.env });
    instancer.subscribe(ignore);
    expect(await growth(5_000, () => clock.runNext())).toBeLessThan(NOTHING);
    expect(watches).toBeGreaterThan(5_000);
  });

  it("with one watch that answers for ever", async () => {
    const clock = manualClock();
    let wake = ignore;
    const source: Source = {
      name: "chatty",
      async *watch(signal) {
        for (let weight = 1; !signal.aborted; weight++) {
          yield [createInstance({ ...a, weight })];
          await new Promise<void>((resolve) => (wake = resolve));
        }
      },
    };
    await using instancer = createInstancer("lorem", source, { env: clock.env });
    instancer.subscribe(ignore);
    const round = async (): Promise<void> => {
      wake();
      await clock.advance(0);
    };
    expect(await growth(5_000, round)).toBeLessThan(NOTHING);
    expect(instancer.snapshot.revision).toBeGreaterThan(9_000);
  });

  it("with renewals, losses and repairs", async () => {
    const clock = manualClock();
    const sink = scriptedSink({ renewEveryMs: 1_000 });
    await using registrar = createRegistrar(a, sink, { env: clock.env });
    await registrar.register();
    let round = 0;
    const renew = async (): Promise<void> => {
      // The scripted sink remembers its calls; that is not ours to be blamed for.
      (sink.calls as unknown[]).length = 0;
      if (++round % 5 === 0) sink.forget();
      await clock.runNext();
    };
    expect(await growth(5_000, renew)).toBeLessThan(NOTHING);
  });

  it("with registering and deregistering under one signal that lives long", async () => {
    const clock = manualClock();
    const sink = scriptedSink();
    const registrar = createRegistrar(a, sink, { env: clock.env });
    const { signal } = new AbortController();
    const round = async (): Promise<void> => {
      (sink.calls as unknown[]).length = 0;
      await registrar.register({ signal });
      await registrar.deregister({ signal });
    };
    expect(await growth(5_000, round)).toBeLessThan(NOTHING);
  });

  it("with listeners that come and go at one instancer of a quiet registry", async () => {
    const clock = manualClock();
    await using registry = memoryRegistry({ env: clock.env });
    const instancer = registry.instancer("lorem");
    const round = async (): Promise<void> => {
      const leave = instancer.subscribe(ignore);
      await Promise.resolve();
      leave();
    };
    expect(await growth(5_000, round)).toBeLessThan(NOTHING);
  });

  it("with instancers and registrars that come and go in one registry", async () => {
    const clock = manualClock();
    await using registry = memoryRegistry({ env: clock.env });
    let port = 0;
    const round = async (): Promise<void> => {
      const instancer = registry.instancer({ service: "lorem", tags: [String(++port)] });
      const leave = instancer.subscribe(ignore);
      const registrar = registry.registrar({ service: "lorem", host: "10.0.0.1", port: 1 + (port % 60_000) });
      await registrar.register();
      leave();
      await Promise.all([registrar.close(), instancer.close()]);
    };
    expect(await growth(3_000, round)).toBeLessThan(NOTHING);
    expect(clock.pending).toBe(0);
  });

  it("with calls that give up waiting for a service that never comes", async () => {
    const clock = manualClock();
    const source: Source = { name: "mute", watch: () => ({ [Symbol.asyncIterator]: () => ({ next: never }) }) };
    await using instancer = createInstancer("lorem", source, { env: clock.env });
    await using client = createClient({ instancer, factory: () => "client", env: clock.env });
    const patient = new AbortController();
    const round = async (): Promise<void> => {
      const leaving = new AbortController();
      const calls = Promise.allSettled([
        client.call(ignore, { signal: leaving.signal }),
        client.call(ignore, { signal: patient.signal, timeoutMs: 10 }),
        client.ready({ signal: leaving.signal }),
      ]);
      leaving.abort();
      await clock.runNext();
      await calls;
    };
    expect(await growth(3_000, round)).toBeLessThan(NOTHING);
    expect(clock.pending).toBe(0);
  });

  it("with calls of every kind, under one signal that lives long, while instances come and go", async () => {
    const clock = manualClock();
    const cache = createCache({ env: clock.env });
    const instancer: Instancer = {
      service: "lorem",
      get snapshot() {
        return cache.snapshot;
      },
      subscribe: (onChange) => cache.subscribe(onChange),
      close: async () => undefined,
      [Symbol.asyncDispose]: async () => undefined,
    };
    const client = createClient({
      instancer,
      factory: ({ port }) => (port % 3 === 0 ? Promise.resolve(port) : port),
      close: ignore,
      retry: { maxAttempts: 2, backoff: () => 5, attemptTimeoutMs: 20, budget: false },
      env: clock.env,
    });
    const { signal } = new AbortController();
    let port = 0;
    const round = async (): Promise<void> => {
      port = (port % 60_000) + 1;
      cache.update([createInstance({ ...a, id: String(port), port }), createInstance({ ...a, id: "stays" })]);
      const calls = Promise.allSettled([
        client.call(ignore, { signal }),
        client.call(() => Promise.reject(new Error("down")), { signal }),
        client.call(never, { signal }),
      ]);
      await clock.advance(60);
      await calls;
    };
    expect(await growth(3_000, round)).toBeLessThan(NOTHING);
    await client.close();
    expect(clock.pending).toBe(0);
  });
});
