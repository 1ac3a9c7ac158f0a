import { memoryRegistry } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { type DiscoveryDispatcherOptions, discoveryDispatcher } from "./discovery-dispatcher.ts";

describe("discoveryDispatcher", () => {
  it.each([
    ["registry", { registry: undefined }],
    ["registry.instancer", { registry: {} }],
    ["fallback.dispatch", { fallback: {} }],
    ["fallback", { fallback: "http://proxy" }],
    ["maxServices", { maxServices: 0 }],
    ["maxServices", { maxServices: 1.5 }],
    ["services", { services: "lorem" }],
    ["services", { services: ["lorem/ipsum"] }],
    ["services", { services: ["lorem:80"] }],
    ["services", { services: [""] }],
    ["clients", { clients: [] }],
    ["clients", { clients: { "a b": {} } }],
    ["clients.lorem", { clients: { lorem: 1 } }],
    ["clients.lorem.polici", { clients: { lorem: { polici: {} } } }],
    ["clients.lorem.retry.timeoutMs", { clients: { lorem: { retry: { timeoutMs: -1 } } } }],
    ["clients.lorem.service", { clients: { lorem: { service: "" } } }],
    ["defaults", { defaults: null }],
    ["defaults.drainMs", { defaults: { drainMs: "1 s" } }],
    ["defaults.service", { defaults: { service: "lorem" } }],
    ["defaults.instancer", { defaults: { instancer: {} } }],
    ["client", { client: {} }],
  ])("refuses a wrong %s, and names it by its path", (path, options) => {
    const wrong = { registry: memoryRegistry(), ...options } as unknown as DiscoveryDispatcherOptions;
    expect(() => discoveryDispatcher(wrong)).toThrow(expect.objectContaining({ code: "INVALID_OPTION", path }));
  });

  it("starts no watch, and opens nothing, before it is used", async () => {
    const registry = memoryRegistry();
    let instancers = 0;
    const counting = { ...registry, instancer: (query: string) => (instancers++, registry.instancer(query)) };
    await using dispatcher = discoveryDispatcher({ registry: counting, clients: { lorem: {} } });
    expect([instancers, typeof dispatcher.dispatch]).toEqual([0, "function"]);
    await dispatcher.destroy();
  });
});
