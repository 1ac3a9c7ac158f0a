import { describe, expect, it } from "vitest";
import { logTail } from "./machine.ts";

describe("logTail", () => {
  it("keeps the last 20,000 characters", () => {
    const log = logTail();
    log.append(Buffer.from("first "));
    log.append("second");
    expect(log.read()).toBe("first second");
    log.append("x".repeat(19_994));
    expect(log.read()).toBe(`second${"x".repeat(19_994)}`);
  });
});
