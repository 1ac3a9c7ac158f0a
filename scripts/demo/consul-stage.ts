import { SERVICE } from "@rollcall/lorem-server";
import { tcpProxy } from "@rollcall/testing";
import { startConsul } from "@rollcall/testing/servers";
import { type ChildApp, startChild } from "./child-app.ts";
import type { Stage, StageServer } from "./stage.ts";
import { until } from "./until.ts";

const SERVER_MAIN = new URL("../../apps/lorem-server/dist/main.js", import.meta.url);
const CLIENT_MAIN = new URL("../../apps/lorem-client/dist/main.js", import.meta.url);

/** The lease of a registration in Consul, as `consulRegistry` has it by default. */
const TTL_MS = 15_000;

/** Nobody waits longer for a process to end in good order. */
const END_MS = 8_000;

/** A Consul, and how to lose it. */
interface Agent {
  readonly description: string;
  readonly url: URL;
  lose(): Promise<void>;
  bringBack(): Promise<void>;
  close(): Promise<void>;
}

/** Servers and client in processes of their own, over a real Consul: the one at `url`, or one that is found or started. */
export async function consulStage(url: URL | undefined): Promise<Stage> {
  const agent = await (url === undefined ? ownAgent() : foreignAgent(url));
  const registry = `consul://${agent.url.host}`;
  const servers = new Map<StageServer, ChildApp>();
  const start = (main: URL, args: readonly string[]): ChildApp =>
    startChild(main, ["--registry", registry, "--host", "127.0.0.1", ...args]);
  const take = (server: StageServer): ChildApp => {
    const taken = servers.get(server);
    if (taken === undefined) throw new Error(`${server.instanceId} does not run`);
    servers.delete(server);
    return taken;
  };
  const endAll = async (children: Iterable<ChildApp>): Promise<void> => {
    await Promise.all([...children].map(endInGoodOrder));
  };

  // The client first: it waits for servers as long as calls may.
  const client = start(CLIENT_MAIN, ["--port", "0"]);
  const startServer = async (framework: StageServer["framework"], port = 0): Promise<StageServer> => {
    const child = start(SERVER_MAIN, ["--framework", framework, "--port", String(port), "--drain-ms", "500"]);
    try {
      const [, serverUrl = "", instanceId = ""] = await child.printed(/listening on (\S+) \(\w+, instance (\S+)\)/);
      await child.printed(/registered as/);
      const server = { framework, url: serverUrl, instanceId };
      servers.set(server, child);
      return server;
    } catch (error) {
      await child.end("SIGKILL");
      throw error;
    }
  };
  try {
    const [, clientUrl = ""] = await client.printed(/listening on (\S+)/);
    return {
      description: `two servers and a client in processes of their own, ${agent.description}`,
      clientUrl,
      ttlMs: TTL_MS,
      startServer,
      async stopServer(server) {
        const { code, signal } = await take(server).end("SIGTERM");
        if (code !== 0) throw new Error(`${server.instanceId} ended with ${signal ?? `exit code ${code}`}`);
      },
      async killServer(server) {
        await take(server).end("SIGKILL");
      },
      loseRegistry: agent.lose,
      returnRegistry: agent.bringBack,
      async registered() {
        const path = `/v1/health/service/${SERVICE}?passing`;
        const response = await fetch(new URL(path, agent.url), { signal: AbortSignal.timeout(2_000) });
        const entries = (await response.json()) as readonly { readonly Service: { readonly ID: string } }[];
        return entries.map(({ Service }) => Service.ID);
      },
      async close() {
        await endAll([client, ...servers.values()]);
        await agent.close();
      },
    };
  } catch (error) {
    await client.end("SIGKILL");
    await agent.close();
    throw error;
  }
}

/** SIGTERM, and SIGKILL for who takes too long. */
async function endInGoodOrder(child: ChildApp): Promise<void> {
  const timer = setTimeout(() => void child.end("SIGKILL"), END_MS);
  await child.end("SIGTERM");
  clearTimeout(timer);
}

/** One of our own: lost is killed with SIGKILL. It comes back empty. */
async function ownAgent(): Promise<Agent> {
  const consul = await startConsul({ faults: ["kill"], keepData: false });
  return {
    description: `a Consul of the demo's own (${consul.via})`,
    url: new URL(consul.url),
    lose: () => consul.kill(),
    bringBack: () => consul.start(),
    close: () => consul.close(),
  };
}

/** Somebody else's: nobody kills it. The way to it leads through a proxy, and lost means cut off there. */
async function foreignAgent(url: URL): Promise<Agent> {
  const port = Number(url.port || 8500);
  const proxy = await tcpProxy({ target: { host: url.hostname, port } });
  const agent = new URL(proxy.url);
  try {
    await until(`Consul at ${url.hostname}:${port}`, 5_000, async () => {
      const { ok, status } = await fetch(new URL("/v1/status/leader", agent));
      if (!ok) throw new Error(`it answers with status ${status}`);
      return true;
    });
  } catch (error) {
    await proxy.close();
    throw error;
  }
  return {
    description: `the Consul at ${url.hostname}:${port}, through a proxy that can be cut`,
    url: agent,
    lose: () => proxy.cut(),
    bringBack: () => proxy.open(),
    // What is still registered there is deregistered by then; the processes have ended.
    close: () => proxy.close(),
  };
}
