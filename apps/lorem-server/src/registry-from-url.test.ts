import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { registryFromUrl } from "./registry-from-url.ts";

describe("registryFromUrl", () => {
  it("makes the embedded registry from memory:", async () => {
    await using registry = registryFromUrl("memory:");
    expect(registry.name).toBe("memory");
  });

  it.each(["consul://127.0.0.1:8500", "consul://consul", "consul://[::1]:8500"])(
    "makes a Consul registry from %s",
    async (url) => {
      await using registry = registryFromUrl(url);
      expect(registry.name).toBe("consul");
    },
  );

  it.each(["etcd://127.0.0.1:2379", "etcd://etcd", "etcd://[::1]:2379", "etcd://a,b:2379,[::1]"])(
    "makes an etcd registry from %s",
    async (url) => {
      await using registry = registryFromUrl(url);
      expect(registry.name).toBe("etcd");
    },
  );

  it.each(["zookeeper://127.0.0.1:2181", "zookeeper://zoo", "zookeeper://[::1]:2181", "zookeeper://a,b:2181,[::1]"])(
    "makes a ZooKeeper registry from %s",
    async (url) => {
      await using registry = registryFromUrl(url);
      expect(registry.name).toBe("zookeeper");
    },
  );

  it.each(["dns://127.0.0.1:8600", "dns://consul", "dns://[::1]:8600"])("makes a DNS registry from %s", async (url) => {
    await using registry = registryFromUrl(url);
    expect(registry.name).toBe("dns");
    expect(() => registry.registrar({ service: "lorem", host: "127.0.0.1", port: 80 })).toThrow("DNS is read only");
  });

  it("asks the Consul that the URL names", async () => {
    const asked = Promise.withResolvers<string>();
    const agent = createServer((request, response) => {
      asked.resolve(request.url ?? "");
      response.setHeader("x-consul-index", "1").end("[]");
    });
    await new Promise<void>((resolve) => agent.listen(0, "127.0.0.1", resolve));
    const registry = registryFromUrl(`consul://127.0.0.1:${(agent.address() as AddressInfo).port}`);
    registry.instancer("lorem").subscribe(() => undefined);
    expect(await asked.promise).toMatch(/^\/v1\/health\/service\/lorem\b/);
    await registry.close();
    agent.closeAllConnections();
    agent.close();
  });

  it.each([
    "",
    "memory",
    "consul",
    "consul:",
    "consul://",
    "consul://host:0x1",
    "consul://host:99999",
    "consul://host:8500/v1",
    "consul://host:8500?dc=a",
    "consul://user:secret@host:8500",
    "http://127.0.0.1:8500",
    "etcd:",
    "etcd://",
    "etcd://a,",
    "etcd://host:99999",
    "etcd://host:2379/prefix",
    "etcd://user:secret@host:2379",
    "zookeeper:",
    "zookeeper://a,",
    "zookeeper://host:2181/chroot",
    "dns:",
    "dns://",
    "dns://host:53/name",
    "memory:somewhere",
  ])("refuses %j", (url) => {
    expect(() => registryFromUrl(url)).toThrowError(
      expect.objectContaining({
        name: "UsageError",
        message: `--registry must be memory:, consul://host:port, etcd://host:port, zookeeper://host:port or dns://host:port, not "${url}"`,
      }),
    );
  });
});
