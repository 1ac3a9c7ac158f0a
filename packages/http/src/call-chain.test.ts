import { describe, expect, it } from "vitest";
import { type IncomingRequest, isRetried, requestDeadline } from "./call-chain.ts";

const withHeaders = (headers: Record<string, string | string[]>): IncomingRequest => ({ headers });

describe("isRetried", () => {
  it.each(["2", "3", "10"])("is true of attempt %s, in Node's headers and in standard ones", (attempt) => {
    expect(isRetried(withHeaders({ "x-rollcall-attempt": attempt }))).toBe(true);
    expect(isRetried(new Request("http://lorem/", { headers: { "X-Rollcall-Attempt": attempt } }))).toBe(true);
  });

  it.each(["1", "0", "-2", "2.5", "2, 3", "two", "", "9".repeat(400)])("is false of %j", (attempt) => {
    expect(isRetried(withHeaders({ "x-rollcall-attempt": attempt }))).toBe(false);
  });

  it("is false of a request that says nothing, or says it twice", () => {
    expect(isRetried(withHeaders({}))).toBe(false);
    expect(isRetried(withHeaders({ "x-rollcall-attempt": ["2", "3"] }))).toBe(false);
  });
});

describe("requestDeadline", () => {
  it("counts down from the first call with a request, and aborts at its end", async () => {
    const request = withHeaders({ "x-rollcall-deadline-ms": "60" });
    const { remainingMs, signal } = requestDeadline(request);
    expect(remainingMs).toBeGreaterThan(0);
    expect(remainingMs).toBeLessThanOrEqual(60);
    expect(requestDeadline(request).signal).toBe(signal);
    expect(signal?.aborted).toBe(false);
    await new Promise((resolve) => signal?.addEventListener("abort", resolve));
    expect(signal?.reason).toMatchObject({ name: "TimeoutError" });
    await expect.poll(() => requestDeadline(request).remainingMs).toBe(0);
  });

  it.each([{}, { "x-rollcall-deadline-ms": "soon" }, { "x-rollcall-deadline-ms": "-1" }])(
    "is none where %j says none",
    (headers) => expect(requestDeadline(withHeaders(headers))).toEqual({ remainingMs: Infinity, signal: undefined }),
  );

  it("never ends early because it is too far away for a timer", async () => {
    const { remainingMs, signal } = requestDeadline(withHeaders({ "x-rollcall-deadline-ms": "99999999999" }));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect([remainingMs > 99_999_000_000, signal]).toEqual([true, undefined]);
  });
});
