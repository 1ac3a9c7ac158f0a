import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFree } from "../free-port.ts";
import { type Life, logTail, type Machine } from "./machine.ts";
import type { ServerKind } from "./server-kind.ts";
import { watchdog } from "./watchdog.ts";

export interface ProcessMachineOptions {
  readonly kind: ServerKind;
  readonly binary: string;
  readonly ports: Readonly<Record<string, number>>;
  readonly keepData: boolean;
  readonly args: readonly string[];
}

/** What must not outlive this process. */
const leftovers = new Map<string, ChildProcess | undefined>();

/** Runs a server as a child process with a data folder of its own under the system's temporary folder. */
export async function processMachine({ kind, binary, ports, keepData, args }: ProcessMachineOptions): Promise<Machine> {
  const folder = await mkdtemp(join(tmpdir(), `rollcall-${kind.name}-`));
  // Not the folder itself: a server may want to make it, with rights to its own liking.
  const dataDir = join(folder, "data");
  const savedDir = join(folder, "saved");
  if (leftovers.size === 0) process.once("exit", removeLeftovers);
  leftovers.set(folder, undefined);
  const dog = watchdog('[ -z "$told" ] || kill -9 "$told"; rm -rf -- "$1"', folder);
  const plan = { binary, clientHost: "127.0.0.1", peerHost: "127.0.0.1", ports, dataDir, keepData };
  const log = logTail();
  let command: readonly string[] | undefined;
  let child: ChildProcess | undefined;

  const start = async (): Promise<Life> => {
    command ??= [...(await kind.command(plan)), ...args];
    if (!keepData) await rm(dataDir, { recursive: true, force: true });
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    // Otherwise whoever listens there would answer the readiness probe, while ours is about to fail.
    for (const port of Object.values(ports)) {
      if (!(await isFree(port, "127.0.0.1")))
        throw new Error(`${kind.name}: address already in use: 127.0.0.1:${port}`);
    }
    const started = spawn(binary, command, { stdio: ["ignore", "pipe", "pipe"], env: neutralEnv(kind) });
    await new Promise<void>((resolve, reject) => {
      started.once("spawn", resolve);
      started.once("error", (error) => reject(new Error(`cannot run ${binary}: ${error.message}`, { cause: error })));
    });
    started.stdout.on("data", log.append);
    started.stderr.on("data", log.append);
    dog.tell(String(started.pid));
    // At its exit, not later: from then on its number may belong to somebody else.
    started.once("exit", () => dog.tell(""));
    child = started;
    leftovers.set(folder, started);
    // "close" comes when the output has been read as well, so that the log is complete.
    const ended = new Promise<string>((resolve) => {
      started.once("close", (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
    return { ended };
  };

  const wipe = (): Promise<void> => rm(dataDir, { recursive: true, force: true });

  return {
    get pid() {
      return child?.exitCode === null && child.signalCode === null ? child.pid : undefined;
    },
    start,
    async signal(signal) {
      child?.kill(signal);
    },
    wipe,
    async save() {
      await rm(savedDir, { recursive: true, force: true });
      await cp(dataDir, savedDir, { recursive: true });
    },
    async restore() {
      if (!existsSync(savedDir)) throw new Error(`no data of ${kind.name} were saved`);
      await wipe();
      await cp(savedDir, dataDir, { recursive: true });
    },
    log: log.read,
    async dispose() {
      child?.kill("SIGKILL");
      leftovers.delete(folder);
      if (leftovers.size === 0) process.off("exit", removeLeftovers);
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
      dog.callOff();
    },
  };
}

function removeLeftovers(): void {
  for (const [folder, child] of leftovers) {
    child?.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Our environment without the variables that would configure the server behind our back (`ETCD_NAME`, …). */
function neutralEnv(kind: ServerKind): NodeJS.ProcessEnv {
  const prefix = `${kind.name.toUpperCase()}_`;
  return Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith(prefix)));
}
