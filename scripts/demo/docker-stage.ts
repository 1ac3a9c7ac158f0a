import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "@rollcall/testing";
import { type Compose, IMAGES, compose } from "./compose.ts";
import { REGISTRY_KINDS } from "./registry-kind.ts";
import { until } from "./until.ts";

/** The services of `docker-compose.yml` that are servers. */
export const SERVERS = ["lorem-nest", "lorem-express"] as const;
export type ServerName = (typeof SERVERS)[number];

/** A container with a server in it. */
export interface Container {
  readonly id: string;
  readonly framework: string;
  /** What it is called in the registry. */
  readonly instanceId: string;
}

/** The containers of `docker-compose.yml`, up and running. */
export interface DockerStage {
  readonly description: string;
  readonly clientUrl: string;
  /** The containers with servers that are running. */
  servers(): Promise<readonly Container[]>;
  /** `docker stop`: SIGTERM, and time to end. Resolves with the exit code. */
  stop(container: Container): Promise<number>;
  /** `docker kill`: gone, without a goodbye. */
  kill(container: Container): Promise<void>;
  /** Has so many containers of each server running. Leaves those alone that run already. */
  scale(each: number): Promise<void>;
  /** Ends Consul and starts it again; it then knows nothing, as it keeps nothing on disk. */
  restartConsul(): Promise<void>;
  /** The ids that Consul lists as healthy, asked past the client. */
  registered(): Promise<readonly string[]>;
  /** Ends all servers and the client in good order. Resolves with the names of those that did not end with code 0. */
  stopAll(): Promise<readonly string[]>;
  close(): Promise<void>;
}

/** Builds the images and starts everything. Ports of this machine are taken as they are free, or as the variables say. */
export async function dockerStage(): Promise<DockerStage> {
  const clientPort = process.env["CLIENT_PORT"] ?? String(await freePort());
  const consulPort = process.env["CONSUL_PORT"] ?? String(await freePort());
  const project = await compose(`rollcall-demo-${process.pid}`, { CLIENT_PORT: clientPort, CONSUL_PORT: consulPort });
  const clientUrl = `http://127.0.0.1:${clientPort}`;
  const consulUrl = new URL(`http://127.0.0.1:${consulPort}`);
  const consul = REGISTRY_KINDS.find(({ scheme }) => scheme === "consul");
  const registered = async (): Promise<readonly string[]> => (await consul?.registered(consulUrl)) ?? [];
  const close = async (): Promise<void> => {
    await project.run("down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "3");
  };
  try {
    await project.run("build");
    await project.run("up", "-d");
    await until("an answer of the client", 30_000, async () => (await fetch(`${clientUrl}/health`)).ok, 200);
  } catch (error) {
    await close().catch(() => undefined);
    throw error;
  }

  const servers = async (): Promise<readonly Container[]> => {
    const found = await Promise.all(SERVERS.map((service) => runningServers(project, service)));
    return found.flat();
  };
  return {
    description: `two servers, a client and Consul in containers (${IMAGES.map(({ image }) => image).join(", ")})`,
    clientUrl,
    servers,
    async stop({ id }) {
      await project.docker("stop", "--time", "20", id);
      return exitCode(project, id);
    },
    async kill({ id }) {
      await project.docker("kill", id);
    },
    async scale(each) {
      const scales = SERVERS.flatMap((service) => ["--scale", `${service}=${each}`]);
      await project.run("up", "-d", "--no-recreate", "--no-build", ...scales);
    },
    async restartConsul() {
      await project.run("restart", "--timeout", "3", "consul");
      await until("an answer of Consul", 30_000, async () => (await registered()) !== undefined, 50);
    },
    registered,
    async stopAll() {
      const ids = (
        await Promise.all([...SERVERS, "lorem-client"].map((service) => containers(project, service)))
      ).flat();
      await project.run("stop", "--timeout", "20", ...SERVERS, "lorem-client");
      const codes = await Promise.all(ids.map((id) => exitCode(project, id)));
      return ids.filter((_, place) => codes[place] !== 0);
    },
    close,
  };
}

async function containers(project: Compose, service: string): Promise<readonly string[]> {
  return (await project.run("ps", "-q", service)).split(/\s+/).filter((id) => id !== "");
}

async function runningServers(project: Compose, service: ServerName): Promise<readonly Container[]> {
  const ids = await containers(project, service);
  const format = "{{.State.Running}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
  const found = await Promise.all(
    ids.map(async (id) => {
      const [running, address = ""] = (await project.docker("inspect", "--format", format, id)).split(" ");
      const framework = service.replace("lorem-", "");
      return { id, framework, instanceId: `lorem-${address}-8080`, running: running === "true" };
    }),
  );
  return found.filter(({ running }) => running);
}

async function exitCode(project: Compose, id: string): Promise<number> {
  // Docker says so a moment after it has ended.
  for (;;) {
    const state = await project.docker("inspect", "--format", "{{.State.Running}} {{.State.ExitCode}}", id);
    const [running, code] = state.split(" ");
    if (running === "false") return Number(code);
    await sleep(100);
  }
}
