import { type TcpProxy, tcpProxy } from "@rollcall/testing";
import { type ChildApp, startChild } from "./child-app.ts";
import type { RegistryKind } from "./registry-kind.ts";
import type { Stage, StageServer } from "./stage.ts";
import { until } from "./until.ts";

const SERVER_MAIN = new URL("../../apps/lorem-server/dist/main.js", import.meta.url);
const CLIENT_MAIN = new URL("../../apps/lorem-client/dist/main.js", import.meta.url);

/** After which time the lorem apps are forgotten when they do not say that they are alive. */
const TTL_MS = 15_000;

/** Nobody waits longer for a process to end in good order. */
const END_MS = 8_000;

/** A registry's server, and how to lose it. */
interface Server {
  readonly description: string;
  /** Where servers announce themselves. */
  readonly url: URL;
  /** `host:port` where the client reads. */
  readonly readAt: string;
  lose(): Promise<void>;
  bringBack(): Promise<void>;
  close(): Promise<void>;
}

/** Servers and client in processes of their own, over a real registry: the one at `url`, or one that is found or started. */
export async function processStage(kind: RegistryKind, url: URL | undefined): Promise<Stage> {
  const server = await (url === undefined ? ownServer(kind) : foreignServer(kind, url));
  const readers = `${kind.scheme}://${server.readAt}`;
  const writers = `${(kind.written ?? kind).scheme}://${server.url.host}`;
  const servers = new Map<StageServer, ChildApp>();
  const start = (main: URL, registry: string, args: readonly string[]): ChildApp =>
    startChild(main, ["--registry", registry, "--host", "127.0.0.1", ...args]);
  const take = (running: StageServer): ChildApp => {
    const taken = servers.get(running);
    if (taken === undefined) throw new Error(`${running.instanceId} does not run`);
    servers.delete(running);
    return taken;
  };
  const endAll = async (children: Iterable<ChildApp>): Promise<void> => {
    await Promise.all([...children].map(endInGoodOrder));
  };

  // The client first: it waits for servers as long as calls may.
  const client = start(CLIENT_MAIN, readers, ["--port", "0"]);
  const startServer = async (framework: StageServer["framework"], port = 0): Promise<StageServer> => {
    const child = start(SERVER_MAIN, writers, ["--framework", framework, "--port", String(port), "--drain-ms", "500"]);
    try {
      const [, serverUrl = "", instanceId = ""] = await child.printed(/listening on (\S+) \(\w+, instance (\S+)\)/);
      await child.printed(/registered as/);
      const started = { framework, url: serverUrl, instanceId };
      servers.set(started, child);
      return started;
    } catch (error) {
      await child.end("SIGKILL");
      throw error;
    }
  };
  try {
    const [, clientUrl = ""] = await client.printed(/listening on (\S+)/);
    return {
      description: `two servers and a client in processes of their own, ${server.description}`,
      clientUrl,
      ttlMs: TTL_MS,
      startServer,
      async stopServer(running) {
        const { code, signal } = await take(running).end("SIGTERM");
        if (code !== 0) throw new Error(`${running.instanceId} ended with ${signal ?? `exit code ${code}`}`);
      },
      async killServer(running) {
        await take(running).end("SIGKILL");
      },
      loseRegistry: server.lose,
      returnRegistry: server.bringBack,
      registered: () => kind.registered(server.url),
      async close() {
        await endAll([client, ...servers.values()]);
        await server.close();
      },
    };
  } catch (error) {
    await client.end("SIGKILL");
    await server.close();
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
async function ownServer(kind: RegistryKind): Promise<Server> {
  const { server, readAt } = await kind.start({ faults: ["kill", "wipe"], keepData: false });
  const url = new URL(server.url);
  return {
    description: `${kind.title} of the demo's own (${server.via})`,
    url,
    readAt: readAt ?? url.host,
    lose: () => server.kill(),
    bringBack: () => server.restart({ wipe: true }),
    close: () => server.close(),
  };
}

/** Somebody else's: nobody kills it. All ways to it lead through proxies, and lost means cut off there. */
async function foreignServer(kind: RegistryKind, { hostname: host, port: given }: URL): Promise<Server> {
  const port = Number(given || kind.defaultPort);
  const reading = await tcpProxy({ target: { host, port } });
  // Where only readers go, servers announce themselves on the same host, at the usual port.
  const writing =
    kind.written === undefined ? reading : await tcpProxy({ target: { host, port: kind.written.defaultPort } });
  const proxies = new Set([reading, writing]);
  const each = async (act: (proxy: TcpProxy) => Promise<void>): Promise<void> => {
    await Promise.all([...proxies].map(act));
  };
  const url = new URL(writing.url);
  try {
    await until(`${kind.title} at ${host}:${port}`, 5_000, async () => {
      await kind.probe(url);
      return true;
    });
  } catch (error) {
    await each((proxy) => proxy.close());
    throw error;
  }
  return {
    description: `the ${kind.title} at ${host}:${port}, through a proxy that can be cut`,
    url,
    readAt: new URL(reading.url).host,
    lose: () => each((proxy) => proxy.cut()),
    bringBack: () => each((proxy) => proxy.open()),
    // What is still registered there is deregistered by then; the processes have ended.
    close: () => each((proxy) => proxy.close()),
  };
}
