import { type ManualClock, manualClock, seededRandom } from "@rollcall/testing";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createInstance } from "./instance.ts";
import { memoryRegistry } from "./memory-registry.ts";
import { type Registrar, createRegistrar } from "./registrar.ts";
import type { Registration, Sink } from "./sink.ts";

const TTL_MS = 3_000;
const own = createInstance({ service: "lorem", host: "10.0.0.1", port: 80, id: "own" });

/** How a registry answers one kind of call. */
type Manner =
  | { readonly kind: "accept" | "reject" | "throw" | "hang" }
  /** Takes effect and answers after `ms`; heeds its signal, and then has no effect. */
  | { readonly kind: "slow"; readonly ms: number }
  /** Takes effect and answers after `ms`, whatever its signal says. */
  | { readonly kind: "deaf"; readonly ms: number };

type Operation = "register" | "renew" | "remove";
const ACCEPT: Manner = { kind: "accept" };

interface StoreOptions {
  /** Only the registration that wrote a record can remove it; otherwise any can, by the id. */
  readonly strict: boolean;
  /** How long a record lives without being renewed: `TTL_MS`, or for ever, so that whatever is left behind stays. */
  readonly ttlMs: number;
  /** Registrations ask to be renewed, so that a loss is noticed. */
  readonly renews: boolean;
}

const stores: fc.Arbitrary<StoreOptions> = fc.oneof(
  fc.record({ strict: fc.boolean(), ttlMs: fc.constantFrom(TTL_MS, Infinity), renews: fc.constant(true) }),
  fc.record({ strict: fc.boolean(), ttlMs: fc.constant(Infinity), renews: fc.constant(false) }),
);

/** A registry whose record is held by the registration that wrote it last; only that one can renew it. */
function hostileStore(clock: ManualClock, { strict, ttlMs, renews }: StoreOptions) {
  const manners: Record<Operation, Manner> = { register: ACCEPT, renew: ACCEPT, remove: ACCEPT };
  const begun: Operation[] = [];
  let holder: symbol | undefined;
  let [cancelExpiry, underWay, most] = [(): void => undefined, 0, 0];

  const hold = (token: symbol | undefined): void => {
    cancelExpiry();
    holder = token;
    if (token !== undefined && ttlMs < Infinity) cancelExpiry = clock.env.after(ttlMs, () => (holder = undefined));
  };

  const call = (operation: Operation, signal: AbortSignal, effect: () => void): Promise<void> => {
    begun.push(operation);
    const manner = manners[operation];
    if (manner.kind === "throw") throw new Error("thrown");
    return new Promise((resolve, reject) => {
      // Those that were given up do not count: nobody waits for them.
      most = Math.max(most, ++underWay);
      let counted = true;
      const uncount = (): void => {
        if (counted) underWay--;
        counted = false;
      };
      const answer = (): void => {
        uncount();
        try {
          resolve(effect());
        } catch (error) {
          reject(error);
        }
      };
      signal.addEventListener("abort", () => {
        uncount();
        if (manner.kind !== "deaf") reject(signal.reason);
      });
      if (manner.kind === "accept") answer();
      else if (manner.kind === "reject") {
        uncount();
        reject(new Error("refused"));
      } else if (manner.kind === "slow" || manner.kind === "deaf") {
        clock.env.after(manner.ms, () => {
          if (manner.kind === "deaf" || !signal.aborted) answer();
        });
      }
    });
  };

  const sink: Sink = {
    name: "hostile",
    async register(_instance, signal): Promise<Registration> {
      const token = Symbol("registration");
      await call("register", signal, () => hold(token));
      const renew = (inner: AbortSignal): Promise<void> =>
        call("renew", inner, () => {
          if (holder !== token) throw new Error("unknown");
          hold(token);
        });
      return {
        ...(renews ? { renewEveryMs: TTL_MS / 3, renew } : {}),
        remove: (inner) =>
          call("remove", inner, () => {
            if (!strict || holder === token) hold(undefined);
          }),
      };
    },
  };

  return {
    sink,
    manners,
    begun,
    get present() {
      return holder !== undefined;
    },
    get mostUnderWay() {
      return most;
    },
    forget: () => hold(undefined),
    calm: () => Object.assign(manners, { register: ACCEPT, renew: ACCEPT, remove: ACCEPT }),
  };
}

type Command =
  | { readonly kind: "register" | "deregister"; readonly abortAfterMs: number | undefined }
  | { readonly kind: "manner"; readonly operation: Operation; readonly manner: Manner }
  | { readonly kind: "forget" | "close" }
  | { readonly kind: "pass"; readonly ms: number };

const delays = fc.constantFrom(0, 1, 100, 499, 500, 600, 1_000, 1_999, 2_500, 4_999, 5_001, 8_000);
const manner: fc.Arbitrary<Manner> = fc.oneof(
  fc.record({ kind: fc.constantFrom("accept" as const, "reject" as const, "throw" as const, "hang" as const) }),
  fc.record({ kind: fc.constantFrom("slow" as const, "deaf" as const), ms: delays }),
);
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom("register" as const, "deregister" as const),
      abortAfterMs: fc.option(delays, { nil: undefined, freq: 2 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("manner" as const),
      operation: fc.constantFrom("register" as const, "renew" as const, "remove" as const),
      manner,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("forget" as const) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: delays }) },
);

/** What went wrong with a promise, without waiting for it here. */
function outcome(promise: Promise<void>): { settled: boolean; error?: unknown } {
  const result: { settled: boolean; error?: unknown } = { settled: false };
  promise.then(
    () => (result.settled = true),
    (error: unknown) => Object.assign(result, { settled: true, error }),
  );
  return result;
}

describe("Registrar, for any interleaving of its calls, aborts, losses and bad answers,", () => {
  it("ends as was wished last: gone for good, or there for good", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(command, { maxLength: 30 }),
        stores,
        fc.constantFrom("register" as const, "deregister" as const, "close" as const),
        fc.nat(1_000),
        async (commands, options, ending, seed) => {
          const clock = manualClock({ random: seededRandom(seed) });
          const store = hostileStore(clock, options);
          const registrar = createRegistrar(own, store.sink, { env: clock.env });
          const outcomes: { readonly settled: boolean }[] = [];
          const run = (kind: "register" | "deregister", abortAfterMs: number | undefined): void => {
            const controller = new AbortController();
            if (abortAfterMs !== undefined) clock.env.after(abortAfterMs, () => controller.abort(new Error("enough")));
            outcomes.push(outcome(registrar[kind]({ signal: controller.signal })));
          };
          /** How many writes had begun when it was last deregistered, if it is not wanted since. */
          let forbidden: number | undefined;
          const writes = (): number => store.begun.filter((operation) => operation !== "remove").length;

          for (const each of commands) {
            if (each.kind === "register" || each.kind === "deregister") {
              run(each.kind, each.abortAfterMs);
              forbidden = each.kind === "register" ? undefined : (forbidden ?? writes());
            } else if (each.kind === "manner") store.manners[each.operation] = each.manner;
            else if (each.kind === "pass") await clock.advance(each.ms);
            else if (options.renews) store.forget(); // nobody could notice it otherwise
            // A deregistration is heard in its own turn: no write begins after it, whatever had been planned.
            if (forbidden !== undefined) expect(writes()).toBe(forbidden);
            if (registrar.registered) expect(forbidden).toBeUndefined();
          }

          store.calm();
          const wish = outcome(ending === "close" ? registrar.close() : registrar[ending]());
          await clock.advance(60_000);
          expect(wish).toEqual({ settled: true });
          expect(outcomes.filter(({ settled }) => !settled)).toEqual([]);
          expect(store.mostUnderWay).toBeLessThanOrEqual(1);
          if (ending === "register") {
            for (let second = 0; second < 20; second++) {
              await clock.advance(1_000);
              expect([registrar.registered, store.present]).toEqual([true, true]);
            }
            await registrar.close();
          }
          const before = store.begun.length;
          await clock.advance(60_000);
          expect([registrar.registered, store.present, clock.pending]).toEqual([false, false, 0]);
          expect(store.begun.length).toBe(before);
        },
      ),
      { numRuns: 300 },
    );
  }, 60_000);
});

describe("An aborted register, at any moment of any answer,", () => {
  it("leaves nothing behind; one that resolved is there", async () => {
    const moment = fc.record({ ms: fc.constantFrom(0, 100, 499, 500, 5_000), hops: fc.nat(20) });
    await fc.assert(
      fc.asyncProperty(manner, moment, stores, async (answer, { ms, hops }, options) => {
        const clock = manualClock();
        const store = hostileStore(clock, options);
        const registrar = createRegistrar(own, store.sink, { env: clock.env });
        store.manners.register = answer;
        const controller = new AbortController();
        const registering = outcome(registrar.register({ signal: controller.signal }));
        if (ms > 0) clock.advanceSync(ms - 1);
        for (let hop = 0; hop < hops; hop++) await Promise.resolve();
        if (ms > 0) clock.advanceSync(1);
        for (let hop = 0; hop < hops; hop++) await Promise.resolve();
        controller.abort(new Error("enough"));
        await clock.advance(5_000);
        expect(registering.settled).toBe(true);
        store.calm();
        await clock.advance(20_000);
        const gaveUp = registering.error instanceof Error && registering.error.message === "enough";
        expect([registrar.registered, store.present]).toEqual([!gaveUp, !gaveUp]);
        await registrar.close();
        await clock.advance(20_000);
        expect([store.present, clock.pending]).toEqual([false, 0]);
      }),
      { numRuns: 500 },
    );
  });
});

/** Registers, lets some time of renewals and repairs pass, deregisters at any moment, and looks whether it comes back. */
async function race(round: number, strict: boolean): Promise<void> {
  const random = seededRandom(round);
  const clock = manualClock({ random });
  const store = hostileStore(clock, { strict, ttlMs: Infinity, renews: true });
  const any = (max: number): number => Math.floor(random() * max);
  const manners: readonly Manner[] = [
    ACCEPT,
    { kind: "slow", ms: any(1_500) },
    { kind: "deaf", ms: any(6_000) },
    { kind: "reject" },
    { kind: "hang" },
  ];
  const registrar: Registrar = createRegistrar(own, store.sink, { env: clock.env });
  void registrar.register();
  await clock.advance(any(200));
  for (let change = 0; change < 3; change++) {
    store.manners.register = manners[any(5)] ?? ACCEPT;
    store.manners.renew = manners[any(5)] ?? ACCEPT;
    if (random() < 0.3) store.forget();
    await clock.advance(any(4_000));
  }
  const deregistering = outcome(registrar.deregister());
  await clock.advance(2_000);
  expect(deregistering).toEqual({ settled: true });
  const writes = store.begun.filter((operation) => operation !== "remove").length;
  await clock.advance(20_000);
  expect([registrar.registered, store.present, clock.pending]).toEqual([false, false, 0]);
  expect(store.begun.filter((operation) => operation !== "remove")).toHaveLength(writes);
}

describe("a deregistration", () => {
  it.each([true, false])(
    "at a random moment among renewals and repairs, a thousand times, never lets the instance come back (%s)",
    async (strict) => {
      for (let round = 0; round < 1_000; round++) await race(round, strict);
    },
    60_000,
  );

  it("at a random moment of a registry that stops, starts and forgets is final as well", async () => {
    for (let round = 0; round < 300; round++) {
      const random = seededRandom(round);
      const clock = manualClock({ random });
      const registry = memoryRegistry({ env: clock.env, ttlMs: 300 });
      const registrar = registry.registrar(own);
      void registrar.register();
      for (let fault = 0; fault < 3; fault++) {
        await clock.advance(random() * 1_000);
        if (random() < 0.5) registry.stop();
        if (random() < 0.5) registry.wipe();
        await clock.advance(random() * 500);
        registry.start();
      }
      await clock.advance(random() * 1_000);
      await registrar.deregister();
      expect(registry.instances("lorem")).toEqual([]);
      await clock.advance(10_000);
      expect([registry.instances("lorem"), registrar.registered, clock.pending]).toEqual([[], false, 0]);
    }
  });
});
