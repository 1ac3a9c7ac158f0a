import { describe, expect, it } from "vitest";
import { createBalancer } from "./balancer.ts";
import { ClosedError, InvalidOptionError, NoEndpointsError } from "./errors.ts";
import { fixedEndpointer } from "./fixed-endpointer.ts";
import { retry } from "./retry.ts";

describe("fixedEndpointer", () => {
  it("has one endpoint per client, in the given order, each with its own instance of the service", () => {
    const [b, a] = [{ name: "b" }, { name: "a" }];
    const { service, endpoints, snapshot } = fixedEndpointer("lorem", [b, a, b]);
    expect(service).toBe("lorem");
    expect(endpoints.map(({ client }) => client)).toEqual([b, a, b]);
    expect(endpoints[0]?.client).toBe(b);
    expect(new Set(endpoints.map(({ instance }) => instance.id)).size).toBe(3);
    expect(endpoints.every(({ instance }) => instance.service === "lorem" && instance.weight === 1)).toBe(true);
    expect(snapshot).toMatchObject({ state: "live", instances: endpoints.map(({ instance }) => instance) });
    expect([endpoints, snapshot].every(Object.isFrozen)).toBe(true);
  });

  it("keeps the given order beyond nine, and takes clients of any kind", () => {
    const clients = Array.from({ length: 12 }, (_, index) => (index === 11 ? undefined : index));
    expect(fixedEndpointer("lorem", clients).endpoints.map(({ client }) => client)).toEqual(clients);
  });

  it("is ready at once and never changes, also if the given array does", async () => {
    const clients = ["a", "b"];
    const endpointer = fixedEndpointer("lorem", clients);
    await endpointer.ready();
    const before = endpointer.endpoints;
    clients.push("c");
    expect(endpointer.endpoints).toBe(before);
    expect(before).toHaveLength(2);
  });

  it("balances and retries like any other", async () => {
    const balancer = createBalancer(fixedEndpointer("lorem", ["a", "b"]), undefined, { env: { random: () => 0 } });
    const call = retry(balancer, { backoff: () => 0 });
    const tried: string[] = [];
    const result = await call((client) => {
      tried.push(client);
      if (client === "a") throw new Error("down");
      return client;
    });
    expect([result, tried]).toEqual(["b", ["a", "b"]]);
  });

  it("may be empty: that is a live service without endpoints", () => {
    const endpointer = fixedEndpointer("lorem", []);
    expect([endpointer.endpoints, endpointer.snapshot.state]).toEqual([[], "live"]);
    expect(() => createBalancer(endpointer).pick()).toThrow(NoEndpointsError);
  });

  it("offers nothing once it is closed, and leaves the clients to their maker", async () => {
    let closed = 0;
    const client = { close: () => closed++, [Symbol.dispose]: () => closed++ };
    const endpointer = fixedEndpointer("lorem", [client]);
    const pick = createBalancer(endpointer).pick();
    const closing = endpointer.close();
    expect(endpointer[Symbol.asyncDispose]()).toBe(closing);
    await closing;
    expect(endpointer.endpoints).toEqual([]);
    await expect(endpointer.ready()).rejects.toThrow(ClosedError);
    pick.done({ kind: "success" });
    expect(pick.endpoint.stats).toMatchObject({ inFlight: 0, successes: 1 });
    expect(closed).toBe(0);
  });

  it("rejects ready with the reason when its signal has aborted", async () => {
    await expect(fixedEndpointer("lorem", []).ready({ signal: AbortSignal.abort("left") })).rejects.toBe("left");
  });

  it.each<[unknown, unknown]>([
    ["", ["a"]],
    [" ", ["a"]],
    [undefined, ["a"]],
    ["lorem", undefined],
    ["lorem", "a"],
    ["lorem", new Set(["a"])],
  ])("refuses (%o, %o)", (service, clients) => {
    expect(() => fixedEndpointer(service as string, clients as string[])).toThrow(InvalidOptionError);
  });
});
