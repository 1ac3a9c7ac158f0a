import { manualClock, seededRandom } from "@rollcall/testing";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { drivenInstancer } from "../test/driven-instancer.ts";
import { lorem } from "../test/lorem.ts";
import { createBalancer } from "./balancer.ts";
import type { Endpoint } from "./endpoint.ts";
import { createEndpointer } from "./endpointer.ts";
import { isDiscoveryError } from "./errors.ts";
import { type Instance, address } from "./instance.ts";
import type { Outcome, PickResult } from "./pick.ts";
import { random } from "./policies/random.ts";
import { roundRobin } from "./policies/round-robin.ts";

interface Made {
  readonly id: string;
  closed: number;
}

/** How the factory answers, call by call; repeated from the start when it is used up. */
type Answer =
  | { readonly kind: "now" }
  | { readonly kind: "throw" }
  | { readonly kind: "never" }
  | { readonly kind: "later"; readonly afterMs: number }
  | { readonly kind: "reject"; readonly afterMs: number };

const answer: fc.Arbitrary<Answer> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("now" as const) }) },
  fc.record({ kind: fc.constant("throw" as const) }),
  fc.record({ kind: fc.constant("never" as const) }),
  fc.record({ kind: fc.constant("later" as const), afterMs: fc.nat(400) }),
  fc.record({ kind: fc.constant("reject" as const), afterMs: fc.nat(400) }),
);

const member = fc.record({ n: fc.integer({ min: 1, max: 5 }), port: fc.constantFrom(80, 81), weight: fc.nat(2) });

type Step =
  | { readonly kind: "update"; readonly set: readonly { n: number; port: number; weight: number }[] }
  | { readonly kind: "fail" }
  | { readonly kind: "close" }
  | { readonly kind: "advance"; readonly ms: number }
  | { readonly kind: "pick"; readonly balancer: number; readonly avoid: readonly number[] }
  | { readonly kind: "done"; readonly which: number; readonly outcome: Outcome["kind"] | "dispose" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("update" as const), set: fc.array(member, { maxLength: 6 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("fail" as const) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("advance" as const), ms: fc.nat(700) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("pick" as const),
      balancer: fc.nat(1),
      avoid: fc.array(fc.nat(4), { maxLength: 3 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("done" as const),
      which: fc.nat(30),
      outcome: fc.constantFrom("success" as const, "failure" as const, "cancelled" as const, "dispose" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("close" as const) }) },
);

const world = fc.record({
  seed: fc.nat(),
  answers: fc.array(answer, { minLength: 1, maxLength: 8 }),
  closers: fc.array(fc.constantFrom("ok" as const, "throw" as const, "reject" as const), {
    minLength: 1,
    maxLength: 3,
  }),
  drainMs: fc.constantFrom(0, 50, 500, Infinity),
  staleAfterMs: fc.constantFrom(undefined, 0, 300),
  steps: fc.array(step, { maxLength: 40 }),
});

describe("an endpointer with its balancers, for any sequence of updates, errors, picks, completions and closes", () => {
  it("closes every client exactly once, counts every slot, changes its array when it must, and ends clean", async () => {
    await fc.assert(
      fc.asyncProperty(world, async ({ seed, answers, closers, drainMs, staleAfterMs, steps }) => {
        const clock = manualClock({ random: seededRandom(seed) });
        const instancer = drivenInstancer(clock.env);
        const made: Made[] = [];
        const removedAt = new Map<Endpoint<Made>, number>();
        const all = new Set<Endpoint<Made>>();
        let [asked, ended, ownTimers, closed] = [0, 0, 0, false];

        const connect = (id: string): Made => {
          const client = { id, closed: 0 };
          made.push(client);
          return client;
        };
        const endpointer = createEndpointer(
          instancer,
          ({ id }): Made | Promise<Made> => {
            expect(closed).toBe(false);
            const how = answers[asked++ % answers.length] ?? { kind: "now" };
            if (how.kind === "now") return connect(id);
            if (how.kind === "throw") throw new Error("the factory throws");
            if (how.kind === "never") return new Promise(() => undefined);
            return new Promise((resolve, reject) => {
              ownTimers++;
              clock.env.after(how.afterMs, () => {
                ownTimers--;
                if (how.kind === "later") resolve(connect(id));
                else reject(new Error("the factory rejects"));
              });
            });
          },
          {
            env: clock.env,
            drainMs,
            staleAfterMs,
            close: (client) => {
              client.closed++;
              const how = closers[ended++ % closers.length];
              if (how === "throw") throw new Error("the closer throws");
              return how === "reject" ? Promise.reject(new Error("the closer rejects")) : undefined;
            },
          },
        );
        const balancers = [roundRobin(), random()].map((policy) =>
          createBalancer(endpointer, policy, { env: clock.env }),
        );
        const open: PickResult<Made>[] = [];
        const over: PickResult<Made>[] = [];
        const counts = new Map<Endpoint<Made>, { inFlight: number; successes: number; failures: number }>();
        let seen = endpointer.endpoints;
        let facts: readonly Instance[] = [];

        /** When the set became too old, if it has. */
        const expiredAt = (): number | undefined => {
          const { snapshot } = instancer;
          if (snapshot.state !== "stale" || staleAfterMs === undefined) return undefined;
          const deadline = snapshot.staleSinceMs + staleAfterMs;
          return clock.now() >= deadline ? deadline : undefined;
        };
        /** The instances that ought to have an endpoint now, or one day. */
        const wanted = (): readonly Instance[] =>
          closed || expiredAt() !== undefined ? [] : instancer.snapshot.instances;

        let wasExpired = false;
        const check = (): void => {
          const { endpoints } = endpointer;
          for (const endpoint of endpoints) all.add(endpoint);
          for (const endpoint of seen) {
            if (!endpoints.includes(endpoint))
              removedAt.set(endpoint, (closed ? undefined : expiredAt()) ?? clock.now());
          }

          // The array is frozen, and a new one exactly if a member or its facts changed.
          expect(Object.isFrozen(endpoints)).toBe(true);
          const same =
            endpoints.length === seen.length &&
            endpoints.every((endpoint, index) => endpoint === seen[index] && endpoint.instance === facts[index]);
          // (One that came and expired while time passed was never seen here, but the array was another one meanwhile.)
          const expired = expiredAt() !== undefined;
          if (!same || expired === wasExpired) expect(endpoints === seen).toBe(same);
          wasExpired = expired;

          // Members are what the snapshot has, in its order, with its facts; who stays is the same endpoint.
          const target = wanted();
          const places = endpoints.map(({ instance }) => target.indexOf(instance));
          expect(places).not.toContain(-1);
          expect(places).toEqual(places.toSorted((a, b) => a - b));
          expect(new Set(places).size).toBe(places.length);
          for (const [index, endpoint] of seen.entries()) {
            const fact = facts[index];
            if (fact === undefined) continue;
            const stays = target.some(({ id, ...rest }) => id === fact.id && address(rest) === address(fact));
            expect(endpoints.includes(endpoint)).toBe(stays);
          }

          for (const endpoint of all) {
            const { inFlight = 0, successes = 0, failures = 0 } = counts.get(endpoint) ?? {};
            expect(endpoint.stats).toMatchObject({ inFlight, successes, failures });
            // A client is closed once it has left and is idle, or its time is over; not before, and not twice.
            const leftAt = removedAt.get(endpoint);
            const gone = leftAt !== undefined && (inFlight === 0 || clock.now() >= leftAt + drainMs);
            expect(endpoint.client.closed).toBe(
              gone ? 1 : endpoint.client.closed === 1 && leftAt !== undefined ? 1 : 0,
            );
          }
          seen = endpoints;
          facts = endpoints.map(({ instance }) => instance);
        };

        const count = (endpoint: Endpoint<Made>, kind: Outcome["kind"] | "pick" | "dispose"): void => {
          const stats = counts.get(endpoint) ?? { inFlight: 0, successes: 0, failures: 0 };
          counts.set(endpoint, stats);
          stats.inFlight += kind === "pick" ? 1 : -1;
          if (kind === "success") stats.successes++;
          if (kind === "failure") stats.failures++;
        };
        const outcomeOf = (kind: Outcome["kind"]): Outcome =>
          kind === "failure" ? { kind, error: new Error("failed") } : { kind };

        const act = async (now: Step): Promise<void> => {
          if (now.kind === "update") {
            instancer.update(now.set.map(({ n, port, weight }) => lorem(n, { port, weight })));
          } else if (now.kind === "fail") {
            instancer.fail(new Error("the registry is down"));
          } else if (now.kind === "advance") {
            await clock.advance(now.ms);
          } else if (now.kind === "close") {
            closed = true;
            void endpointer.close();
            expect(endpointer.endpoints).toEqual([]);
          } else if (now.kind === "pick") {
            const eligible = endpointer.endpoints.filter(({ instance }) => instance.weight > 0);
            const avoid = new Set(now.avoid.flatMap((index) => endpointer.endpoints[index] ?? []));
            let pick: PickResult<Made>;
            try {
              const balancer = balancers[now.balancer];
              if (balancer === undefined) return;
              pick = balancer.pick({ avoid });
            } catch (error) {
              expect(isDiscoveryError(error, "NO_ENDPOINTS")).toBe(true);
              expect(eligible).toEqual([]);
              return;
            }
            expect(eligible).toContain(pick.endpoint);
            if (eligible.some((endpoint) => !avoid.has(endpoint))) expect(avoid).not.toContain(pick.endpoint);
            open.push(pick);
            count(pick.endpoint, "pick");
          } else {
            const [pick] = open.splice(now.which % Math.max(1, open.length), 1);
            if (pick !== undefined) {
              count(pick.endpoint, now.outcome);
              if (now.outcome === "dispose") pick[Symbol.dispose]();
              else pick.done(outcomeOf(now.outcome));
              over.push(pick);
            }
            // One that has ended cannot end again.
            over[now.which % Math.max(1, over.length)]?.done({ kind: "success" });
          }
        };

        for (const now of steps) {
          await act(now);
          await clock.advance(0);
          check();
        }

        // The end: all calls end, all is closed, and what was still being made arrives late.
        for (const pick of open) {
          count(pick.endpoint, "cancelled");
          pick[Symbol.dispose]();
        }
        closed = true;
        await endpointer.close();
        check();
        expect(instancer.listeners).toBe(0);
        // No timer is left but those of the factory itself, which still makes what nobody waits for.
        expect(clock.pending).toBe(ownTimers);
        await clock.advance(1_000);
        instancer.update([lorem(9)]);
        await clock.advance(60_000);
        check();
        expect(clock.pending).toBe(0);
        expect(made.filter((client) => client.closed !== 1)).toEqual([]);
        expect([...all].every(({ stats }) => stats.inFlight === 0)).toBe(true);
      }),
      { numRuns: 400 },
    );
  });
});
