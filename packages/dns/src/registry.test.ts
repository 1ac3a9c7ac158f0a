import { isDiscoveryError } from "@rollcall/core";
import { describe, expect, it } from "vitest";
import { dnsRegistry, type DnsRegistryOptions } from "./registry.ts";

describe("dnsRegistry", () => {
  it.each<[string, object]>([
    ["servers", { servers: [] }],
    ["servers", { servers: "10.0.0.1" }],
    ["servers.0", { servers: [""] }],
    ["servers.1", { servers: ["10.0.0.1", "dns://10.0.0.1"] }],
    ["servers.0", { servers: ["10.0.0.1:0"] }],
    ["servers.0", { servers: ["10.0.0.1:65536"] }],
    ["servers.0", { servers: ["[::1"] }],
    ["name", { name: "lorem" }],
    ["name", { name: 1 }],
    ["port", { port: 0 }],
    ["family", { port: 80, family: 5 }],
    ["family", { family: 6 }],
    ["priorities", { priorities: "best" }],
    ["transport", { transport: "tls" }],
    ["intervalMs", { intervalMs: 0 }],
    ["timeoutMs", { timeoutMs: 0 }],
    ["emptyGraceMs", { emptyGraceMs: -1 }],
    ["env", { env: 1 }],
    ["interval", { interval: 1 }],
  ])("refuses %s in %j", (path, options) => {
    expect(() => dnsRegistry(options as DnsRegistryOptions)).toThrow(
      expect.objectContaining({ name: "InvalidOptionError", path }),
    );
  });

  it.each([["10.0.0.1"], ["10.0.0.1:8600"], ["::1"], ["[::1]"], ["[::1]:53"], ["consul:8600"], ["ns.example"]])(
    "takes %s for a server",
    async (server) => {
      await dnsRegistry({ servers: [server] }).close();
    },
  );

  it.each([
    ["a space", "lo rem"],
    ["an empty label", "lorem..test"],
    ["a label of 64 characters", "x".repeat(64)],
    ["a name of 254 characters", `${"x".repeat(63)}.`.repeat(4).slice(0, 254)],
    ["a letter that is none of DNS", "lörem"],
  ])("refuses a service whose name has %s", async (_, service) => {
    await using registry = dnsRegistry();
    expect(() => registry.instancer(service)).toThrow(expect.objectContaining({ path: "service", got: service }));
  });

  it("refuses a function that makes no name", async () => {
    await using registry = dnsRegistry({ name: (() => undefined) as unknown as () => string });
    expect(() => registry.instancer("lorem")).toThrow(
      expect.objectContaining({ name: "InvalidOptionError", path: "service", got: undefined }),
    );
  });

  it("takes names with underscores, and with a dot at the end", async () => {
    await using registry = dnsRegistry({ name: "_http._tcp.{service}.test." });
    expect(registry.instancer("lorem").service).toBe("lorem");
  });

  it("refuses tags, which DNS does not have, unless a function makes a name of them", async () => {
    await using plain = dnsRegistry({ name: "{service}.service.consul" });
    expect(() => plain.instancer({ service: "lorem", tags: ["blue"] })).toThrow(
      expect.objectContaining({ name: "InvalidOptionError", path: "tags" }),
    );
    const asked: unknown[] = [];
    await using tagged = dnsRegistry({
      name(query) {
        asked.push(query);
        return "blue.lorem.test";
      },
    });
    tagged.instancer({ service: "lorem", tags: ["blue"] });
    expect(asked).toEqual([{ service: "lorem", tags: ["blue"] }]);
  });

  it("refuses to announce, with the reason", async () => {
    const registry = dnsRegistry();
    const announce = () => registry.registrar({ service: "lorem", host: "10.0.0.1", port: 80 });
    expect(announce).toThrow(/cannot announce lorem-10\.0\.0\.1-80: DNS is read only/);
    await registry.close();
    expect(announce).toThrow(expect.toSatisfy((error) => isDiscoveryError(error, "CLOSED")));
  });
});
