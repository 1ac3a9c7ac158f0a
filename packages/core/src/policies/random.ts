import type { Policy } from "../policy.ts";
import { xorshift } from "../xorshift.ts";

/** Any endpoint, uniformly, whatever its weight. */
export function random(): Policy {
  return RANDOM;
}

const RANDOM: Policy = Object.freeze<Policy>({
  name: "random",
  create(env) {
    const draw = xorshift(env);
    return {
      picker(endpoints) {
        const size = endpoints.length;
        return () => endpoints[draw(size)] ?? endpoints[0];
      },
      explain: () => ({ why: "chance, the same for all" }),
    };
  },
});
