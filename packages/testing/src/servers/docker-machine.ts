import { randomUUID } from "node:crypto";
import { dirname } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { loadTestcontainers } from "./docker-runtime.ts";
import { type Life, logTail, type Machine } from "./machine.ts";
import type { ServerKind } from "./server-kind.ts";
import { watchdog } from "./watchdog.ts";

export interface DockerMachineOptions {
  readonly kind: ServerKind;
  readonly image: string;
  /** The port of this machine that leads to the server; it stays the same over restarts. */
  readonly hostPort: number;
  readonly keepData: boolean;
  readonly args: readonly string[];
}

/** How long after the end of a container the rest of its output is waited for. */
const LOG_LAG_MS = 1_000;

/** Tells our containers, so that one can be found by it that never got far enough to tell us its id. */
const LABEL = "rollcall.test-server";

/** Writable for everybody in every image. */
const DATA_DIR = "/tmp/rollcall-data";

/** Runs a server in a container. A restart is one of the same container; other data mean a new container. */
export async function dockerMachine(options: DockerMachineOptions): Promise<{ machine: Machine; host: string }> {
  const { kind, image, hostPort, keepData, args } = options;
  const { GenericContainer, getContainerRuntimeClient, Wait } = await loadTestcontainers();
  const client = await getContainerRuntimeClient();
  const { ports = {}, entrypoint = kind.binary.name } = kind.image ?? {};
  const command = await kind.command({
    binary: undefined,
    clientHost: "0.0.0.0",
    peerHost: "127.0.0.1",
    ports,
    dataDir: DATA_DIR,
    keepData,
  });
  const log = logTail();
  let id: string | undefined;
  /** The data folder as an archive: what was saved, and what the next container begins with. */
  let saved: Buffer | undefined;
  let initial: Buffer | undefined;
  const dog = watchdog('[ -z "$told" ] || docker rm -f -v "$told"');

  const create = async (): Promise<string> => {
    const label = randomUUID();
    const container = new GenericContainer(image)
      .withLabels({ [LABEL]: label })
      .withEntrypoint([entrypoint])
      .withCommand([...command, ...args])
      .withCopyArchivesToContainer(
        initial === undefined ? [] : [{ tar: Readable.from([initial]), target: dirname(DATA_DIR) }],
      )
      .withExposedPorts({ container: ports[kind.ports[0]] ?? 0, host: hostPort })
      // The first sign of life is enough here: whether it is ready, or has ended, is found out for all machines alike.
      .withWaitStrategy(Wait.forLogMessage(/./));
    try {
      const started = await container.start();
      dog.tell(started.getId());
      return started.getId();
    } catch (error) {
      // One that was created but could not start (its port is taken, say) would stay for ever.
      const created = await client.container.fetchByLabel(LABEL, label);
      await created?.remove({ force: true, v: true });
      throw error;
    }
  };

  const start = async (): Promise<Life> => {
    if (id !== undefined && !keepData) await remove();
    const sinceS = Math.floor(Date.now() / 1_000);
    if (id === undefined) id = await create();
    else await client.container.getById(id).start();
    const container = client.container.getById(id);
    const output = await client.container.logs(container, { since: sinceS });
    output.on("data", log.append);
    output.on("error", () => {});
    // The output lags behind the container; what it said last is what one wants to read.
    const read = new Promise((resolve) => output.once("close", resolve));
    const ended = container.wait().then(
      async (result: unknown) => {
        await Promise.race([read, sleep(LOG_LAG_MS)]);
        return `exit code ${statusCode(result)}`;
      },
      () => "removed",
    );
    return { ended };
  };

  const remove = async (): Promise<void> => {
    if (id === undefined) return;
    await client.container.getById(id).remove({ force: true, v: true });
    id = undefined;
    dog.tell("");
  };

  const machine: Machine = {
    pid: undefined,
    start,
    async signal(signal) {
      if (id === undefined) return;
      const container = client.container.getById(id);
      // One that has ended meanwhile takes no signal; that is the same as having taken it.
      if ((await container.inspect()).State.Running) await container.kill({ signal });
    },
    async wipe() {
      initial = undefined;
      await remove();
    },
    async save() {
      saved = undefined;
      if (id !== undefined)
        saved = await buffer(await client.container.fetchArchive(client.container.getById(id), DATA_DIR));
    },
    async restore() {
      if (saved === undefined) throw new Error(`no data of ${kind.name} were saved`);
      initial = saved;
      await remove();
    },
    log: log.read,
    async dispose() {
      await remove();
      dog.callOff();
    },
  };
  const { host } = client.info.containerRuntime;
  // By its number, so that nobody has to try ::1 first.
  return { machine, host: host === "localhost" ? "127.0.0.1" : host };
}

function statusCode(result: unknown): string {
  return typeof result === "object" && result !== null && "StatusCode" in result
    ? String(result.StatusCode)
    : "unknown";
}
