import { createServer } from "node:http";
import { type Instancer, type Registry, memoryRegistry } from "@rollcall/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { announce } from "./announce.ts";
import { type ServiceClientOptions, checkServiceClient, serviceClient } from "./service-client.ts";

async function lorem(registry: ReturnType<typeof memoryRegistry>, tags: readonly string[]): Promise<void> {
  const server = createServer((_, response) => response.end(tags.join())).listen(0, "127.0.0.1");
  const announced = await announce(server, { registry, service: "lorem", tags, drainMs: 0, signals: false });
  onTestFinished(() => announced.close());
}

describe("serviceClient", () => {
  it("calls the instances of a service that have all the tags", async () => {
    await using registry = memoryRegistry();
    await lorem(registry, ["a"]);
    await lorem(registry, ["a", "b"]);
    await using client = serviceClient(registry, { service: "lorem", tags: ["b"] });
    for (let call = 0; call < 4; call++) expect(await (await client.request("/")).body.text()).toBe("a,b");
    expect(client.endpoints).toHaveLength(1);
    await using all = serviceClient(registry, "lorem");
    await all.ready();
    expect(all.endpoints).toHaveLength(2);
  });

  it("closes what it made, and not the registry", async () => {
    await using registry = memoryRegistry();
    await lorem(registry, []);
    const client = serviceClient(registry, "lorem");
    await client.ready();
    await client.close();
    await expect(client.request("/")).rejects.toMatchObject({ code: "CLOSED" });
    await using another = serviceClient(registry, "lorem");
    expect((await another.fetch("/")).status).toBe(200);
  });

  it("leaves no instancer behind when its policy cannot be made", async () => {
    await using registry = memoryRegistry();
    let open = 0;
    const counting: Registry = {
      ...registry,
      instancer: (query) => {
        const instancer = registry.instancer(query);
        open++;
        return Object.assign(Object.create(instancer) as Instancer, {
          close: () => instancer.close().finally(() => open--),
        });
      },
    };
    const create = (): never => {
      throw new Error("no such policy");
    };
    expect(() => serviceClient(counting, { service: "lorem", policy: { name: "none", create } })).toThrow(
      "no such policy",
    );
    await expect.poll(() => open).toBe(0);
  });

  it("refuses what is no registry", () => {
    expect(() => serviceClient({} as Registry, "lorem")).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", path: "registry.instancer" }),
    );
  });

  it.each([
    ["service", { service: "" }],
    ["tags", { service: "lorem", tags: "a" }],
    ["retry.timeoutMs", { service: "lorem", retry: { timeoutMs: -1 } }],
    ["instancer", { service: "lorem", instancer: {} }],
    ["polici", { service: "lorem", polici: {} }],
  ])("refuses a wrong %s, and names it by its path", async (path, options) => {
    await using registry = memoryRegistry();
    const wrong = options as unknown as ServiceClientOptions;
    expect(() => serviceClient(registry, wrong)).toThrow(expect.objectContaining({ code: "INVALID_OPTION", path }));
    expect(() => checkServiceClient("clients.a", wrong)).toThrow(
      expect.objectContaining({ code: "INVALID_OPTION", path: `clients.a.${path}` }),
    );
  });
});
