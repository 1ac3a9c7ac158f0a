import {
  type Endpoint,
  InvalidOptionError,
  type NonEmpty,
  type Policy,
  type PolicyState,
  roundRobin,
} from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { describePolicy } from "./describe-policy.ts";
import { type PolicyHarness, policyRules } from "./rules.ts";

/** Round robin with one thing wrong. */
function broken(state: (good: PolicyState, random: () => number) => Partial<PolicyState>): Policy {
  return {
    name: "broken",
    create: (env) => {
      const good = roundRobin().create(env);
      return { ...good, ...state(good, env.random) };
    },
  };
}

const counter = (): (() => number) => {
  let calls = 0;
  return () => calls++;
};

/** For each rule, a policy that breaks it. */
const fakes: Record<string, Policy> = {
  "picks from the present set": broken(() => {
    let first: Endpoint | undefined;
    return { picker: (endpoints) => () => (first ??= endpoints[0]) as never };
  }),
  "repeats itself": broken(() => ({
    picker: (endpoints) => () => endpoints[Math.floor(Math.random() * endpoints.length)] ?? endpoints[0],
  })),
  "keeps every endpoint that is to be avoided out": broken(() => {
    const all: Endpoint[] = [];
    return {
      // Remembers who was there before, and so finds the avoided one even in a set without it.
      picker: (endpoints) => {
        all.push(...endpoints);
        return () => all[0] as never;
      },
    };
  }),
  "gives every instance its turn": broken(() => ({ picker: (endpoints) => () => endpoints[0] })),
  "picks the only instance there is": broken(() => {
    let failures = 0;
    return {
      picker: (endpoints) => () => {
        if (failures > 5 && endpoints.length === 1) throw new Error("all are ejected");
        return endpoints[0];
      },
      observe: (_, { kind }) => void (failures += kind === "failure" ? 1 : 0),
    };
  }),
  "serves every instance again": broken((good) => {
    const ill = new Set<Endpoint>();
    return {
      picker: (endpoints) => {
        const inner = good.picker(endpoints);
        return (request) => {
          for (let n = 0; n < endpoints.length; n++) {
            const endpoint = inner(request);
            if (!ill.has(endpoint)) return endpoint;
          }
          return endpoints[0];
        };
      },
      observe: (endpoint, { kind }) => void (kind === "failure" && ill.add(endpoint)),
    };
  }),
  "goes on through any churn": broken((good) => {
    const made = counter();
    return {
      picker: (endpoints) => {
        if (made() > 10) throw new Error("too many changes");
        return good.picker(endpoints);
      },
    };
  }),
  "holds nothing against anybody": {
    name: "broken",
    create(env) {
      const good = roundRobin().create(env);
      const slow = new Set<Endpoint>();
      return {
        picker: (endpoints) => {
          const inner = good.picker(endpoints);
          return (request) => {
            const endpoint = inner(request);
            return slow.has(endpoint) ? endpoints[0] : endpoint;
          };
        },
        // Goes by its own clock instead of the outcome.
        observe: (endpoint, _, latencyMs) => void (latencyMs > 1_000 && slow.add(endpoint)),
      };
    },
  },
  "explains itself": broken((good) => ({
    explain: <E extends Endpoint>(endpoints: NonEmpty<E>) => ({ next: good.picker(endpoints)({}), why: "its turn" }),
  })),
};

const check = (policy: Policy, rule: (typeof policyRules)[number]) => () =>
  rule.run({ name: "it", policy: () => policy });

describe("each rule for policies", () => {
  it("has a broken policy below", () => {
    const named = policyRules.map(({ title }) => Object.keys(fakes).filter((start) => title.startsWith(start)));
    expect(named.every((names) => names.length === 1)).toBe(true);
    expect(Object.keys(fakes)).toHaveLength(policyRules.length);
  });

  it.each(policyRules.map((rule) => [rule.title, rule] as const))("is broken by it: %s", (title, rule) => {
    const [, fake] = Object.entries(fakes).find(([start]) => title.startsWith(start)) ?? [];
    expect(check(fake as Policy, rule)).toThrow();
    expect(check(roundRobin(), rule)).not.toThrow();
  });
});

describe("describePolicy", () => {
  it("turns each rule into one test", () => {
    const titles: string[] = [];
    const runner = {
      describe: (_: string, body: () => void) => body(),
      it: (title: string) => void titles.push(title),
    };
    describePolicy({ name: "roundRobin()", policy: roundRobin }, runner);
    expect(titles).toEqual(policyRules.map(({ title }) => title));
  });

  it.each([{}, { name: "it" }, { name: "it", policy: roundRobin() }, { name: "it", policy: roundRobin, all: true }])(
    "refuses a harness that leaves something out: %o",
    (harness) => {
      const runner = { describe: () => undefined, it: () => undefined };
      expect(() => describePolicy(harness as unknown as PolicyHarness, runner)).toThrow(InvalidOptionError);
    },
  );
});
