import type { Policy } from "../policy.ts";

/** Any endpoint, uniformly, whatever its weight. */
export function random(): Policy {
  return RANDOM;
}

const RANDOM: Policy = Object.freeze<Policy>({
  name: "random",
  create: (env) => ({
    picker: (endpoints) => () => endpoints[Math.floor(env.random() * endpoints.length)] ?? endpoints[0],
    explain: () => ({ why: "chance, the same for all" }),
  }),
});
