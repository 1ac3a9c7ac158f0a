import { memoryRegistry } from "@rollcall/core";
import { startLoremClient } from "@rollcall/lorem-client";
import { type LoremServer, SERVICE, startLoremServer } from "@rollcall/lorem-server";
import type { Stage, StageServer } from "./stage.ts";

/** A server whose process was killed is forgotten after this time. */
const TTL_MS = 2_000;

/**
 * Everything in this process, over the embedded registry. Servers and client still talk over sockets, each of them
 * knowing the others from the registry alone.
 */
export async function memoryStage(): Promise<Stage> {
  const registry = memoryRegistry({ ttlMs: TTL_MS });
  const servers = new Map<StageServer, LoremServer>();
  // The client first: it waits for servers as long as calls may.
  const client = await startLoremClient({ registry, host: "127.0.0.1" });
  const take = (server: StageServer): LoremServer => {
    const taken = servers.get(server);
    if (taken === undefined) throw new Error(`${server.instanceId} does not run`);
    servers.delete(server);
    return taken;
  };

  return {
    description: "two servers and a client in one process, the embedded registry, real HTTP between them",
    clientUrl: client.url,
    ttlMs: TTL_MS,
    async startServer(framework, port) {
      // This registry tells its watchers at once, so nothing has to be waited for when a server leaves.
      const running = await startLoremServer({ registry, framework, port, host: "127.0.0.1", drainMs: 0 });
      const server = { framework, instanceId: running.instanceId, url: running.url };
      servers.set(server, running);
      return server;
    },
    stopServer: (server) => take(server).close(),
    async killServer(server) {
      const { http, instanceId } = take(server);
      registry.freeze(instanceId);
      const closed = new Promise((resolve) => http.close(resolve));
      http.closeAllConnections();
      await closed;
    },
    loseRegistry: async () => registry.stop(),
    returnRegistry: async () => registry.start(),
    async registered() {
      // What is in it can always be looked at, but only a registry that answers accepts something.
      const probe = registry.registrar({ service: "probe", host: "127.0.0.1", port: 1 });
      try {
        await probe.register();
        return registry.instances(SERVICE).map(({ id }) => id);
      } finally {
        await probe.close();
      }
    },
    async close() {
      await client.close();
      await Promise.all([...servers.values()].map((server) => server.close()));
      await registry.close();
    },
  };
}
