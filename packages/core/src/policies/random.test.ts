import { manualClock, seededRandom } from "@rollcall/testing";
import { describe, expect, it } from "vitest";
import { lorem } from "../../test/lorem.ts";
import { LiveEndpoint } from "../endpoint.ts";
import { random } from "./random.ts";

const [a, b, c] = ["a", "b", "c"].map((client, index) => new LiveEndpoint(lorem(index + 1), client)) as [
  LiveEndpoint<string>,
  LiveEndpoint<string>,
  LiveEndpoint<string>,
];

describe("random", () => {
  it("is one constant with a name, and keeps no outcomes", () => {
    expect(random()).toBe(random());
    expect(random().name).toBe("random");
    expect(random().create(manualClock().env).observe).toBeUndefined();
  });

  it.each([0, 0.5, 1 - 2 ** -53])("picks one of them whatever the environment says: %s", (chance) => {
    const pick = random()
      .create(manualClock({ random: () => chance }).env)
      .picker([a, b, c]);
    const picked = new Set(Array.from({ length: 100 }, () => pick({})));
    expect(picked).toEqual(new Set([a, b, c]));
  });

  it("takes its seed from the environment, so a seed repeats every pick", () => {
    const picks = [7, 7, 8].map((seed) => {
      const pick = random()
        .create(manualClock({ random: seededRandom(seed) }).env)
        .picker([a, b, c]);
      return Array.from({ length: 40 }, () => pick({}).client).join("");
    });
    expect(picks[0]).toBe(picks[1]);
    expect(picks[0]).not.toBe(picks[2]);
  });

  it("is uniform", () => {
    const pick = random()
      .create(manualClock({ random: seededRandom(42) }).env)
      .picker([a, b, c]);
    const counts = { a: 0, b: 0, c: 0 };
    for (let n = 0; n < 30_000; n++) counts[pick({}).client as "a" | "b" | "c"]++;
    // Four standard deviations: sqrt(30 000 · 1/3 · 2/3) = 82.
    for (const count of Object.values(counts)) expect(Math.abs(count - 10_000)).toBeLessThan(4 * 82);
  });
});
