import { describe, expect, it } from "vitest";
import { lorem } from "../test/lorem.ts";
import { type Endpoint, LiveEndpoint, release, reserve } from "./endpoint.ts";

const success = { kind: "success" } as const;
const failure = { kind: "failure", error: new Error("refused") } as const;
const cancelled = { kind: "cancelled" } as const;

describe("the statistics of an endpoint", () => {
  it("begin at nothing", () => {
    const { stats } = new LiveEndpoint(lorem(1), "client");
    expect(stats).toEqual({ inFlight: 0, successes: 0, failures: 0, consecutiveFailures: 0 });
  });

  it("count the slots that are taken", () => {
    const endpoint = new LiveEndpoint(lorem(1), "client");
    reserve(endpoint);
    reserve(endpoint);
    expect(endpoint.stats.inFlight).toBe(2);
    release(endpoint, success);
    expect(endpoint.stats.inFlight).toBe(1);
  });

  it("count failures, and those since the last success", () => {
    const endpoint = new LiveEndpoint(lorem(1), "client");
    for (const outcome of [failure, failure, success, failure]) {
      reserve(endpoint);
      release(endpoint, outcome);
    }
    expect(endpoint.stats).toEqual({ inFlight: 0, successes: 1, failures: 3, consecutiveFailures: 1 });
  });

  it("learn nothing from a cancelled pick", () => {
    const endpoint = new LiveEndpoint(lorem(1), "client");
    for (const outcome of [failure, cancelled]) {
      reserve(endpoint);
      release(endpoint, outcome);
    }
    expect(endpoint.stats).toEqual({ inFlight: 0, successes: 0, failures: 1, consecutiveFailures: 1 });
  });

  it("belong to one object for good, so whoever holds it sees them move", () => {
    const endpoint = new LiveEndpoint(lorem(1), "client");
    const { stats } = endpoint;
    reserve(endpoint);
    expect(endpoint.stats).toBe(stats);
    expect(stats.inFlight).toBe(1);
  });

  it("are kept for endpoints that somebody else made, too", () => {
    const stats = { inFlight: 0, successes: 0, failures: 0, consecutiveFailures: 0 };
    const endpoint: Endpoint<string> = { instance: lorem(1), client: "client", stats };
    reserve(endpoint);
    release(endpoint, failure);
    expect(stats).toEqual({ inFlight: 0, successes: 0, failures: 1, consecutiveFailures: 1 });
  });
});

describe("an endpoint that drains", () => {
  it("tells when its last slot is free, and not before", () => {
    const endpoint = new LiveEndpoint(lorem(1), "client");
    let idle = 0;
    reserve(endpoint);
    reserve(endpoint);
    endpoint.onIdle = () => idle++;
    release(endpoint, success);
    expect(idle).toBe(0);
    release(endpoint, cancelled);
    expect(idle).toBe(1);
  });
});
