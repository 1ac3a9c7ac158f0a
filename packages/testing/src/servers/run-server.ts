import { ClosedError, closable, messageOf } from "@rollcall/core";
import type { Machine } from "./machine.ts";
import type { TestServer, Way } from "./test-server.ts";
import { untilReady } from "./until-ready.ts";

export interface RunServerOptions {
  readonly name: string;
  readonly via: Way;
  readonly host: string;
  readonly port: number;
  /** Of its URL. Default `http`. */
  readonly scheme?: string | undefined;
  readonly machine: Machine;
  readonly startTimeoutMs: number;
  readonly probe: (url: string, signal: AbortSignal) => Promise<void>;
}

/** How long a server may take for a polite end. */
const STOP_GRACE_MS = 3_000;

/**
 * Starts the server of a machine for the first time and makes the handle for it. If it does not come up, everything is
 * freed again, and the error carries the log. From then on the machine belongs to the handle.
 */
export async function runServer(options: RunServerOptions): Promise<TestServer> {
  const { name, via, host, port, machine, startTimeoutMs, probe } = options;
  const url = `${options.scheme ?? "http"}://${host}:${port}`;
  // The end of the present life, while there is one.
  let ended: Promise<string> | undefined;
  let starting: Promise<void> | undefined;
  let closed = false;

  const start = async (): Promise<void> => {
    if (closed) throw new ClosedError(name);
    if (starting === undefined && ended !== undefined) return;
    starting ??= begin().finally(() => (starting = undefined));
    await starting;
  };

  const begin = async (): Promise<void> => {
    const life = await machine.start();
    const early = new AbortController();
    ended = life.ended;
    void life.ended.then((how) => {
      ended = undefined;
      early.abort(new Error(`ended at once (${how})`));
    });
    if (closed) early.abort(new Error("closed meanwhile"));
    try {
      await untilReady("getting ready", (signal) => probe(url, signal), startTimeoutMs, early.signal);
    } catch (error) {
      await kill();
      throw new Error(`${name} did not start: ${messageOf(error)}. Its log:\n${machine.log()}`, { cause: error });
    }
  };

  const kill = async (signal: NodeJS.Signals = "SIGKILL"): Promise<void> => {
    if (ended === undefined) return;
    const end = ended;
    await machine.signal(signal);
    // A frozen process would take no other signal than SIGKILL.
    if (signal !== "SIGKILL") await machine.signal("SIGCONT");
    await end;
  };

  const stop = async (): Promise<void> => {
    const timer = setTimeout(() => {
      // If it ends at this very moment, there is nobody left to take the signal; all the better.
      machine.signal("SIGKILL").catch(() => {});
    }, STOP_GRACE_MS);
    try {
      await kill("SIGTERM");
    } finally {
      clearTimeout(timer);
    }
  };

  /** Does something to the data, which must not be in use. */
  const whileDown = async (done: string, act: () => Promise<void>): Promise<void> => {
    if (ended !== undefined) throw new Error(`${name} runs: kill or stop it before its data are ${done}`);
    await act();
  };
  const wipe = (): Promise<void> => whileDown("wiped", machine.wipe);

  const server: TestServer = {
    name,
    url,
    host,
    port,
    via,
    faults: Object.freeze(["kill", "freeze", "wipe"] as const),
    get pid() {
      return machine.pid;
    },
    get running() {
      return ended !== undefined;
    },
    kill,
    stop,
    freeze: () => machine.signal("SIGSTOP"),
    thaw: () => machine.signal("SIGCONT"),
    start,
    async restart(how) {
      await kill();
      if (how.wipe) await wipe();
      await start();
    },
    wipe,
    save: () => whileDown("saved", machine.save),
    restore: () => whileDown("restored", machine.restore),
    log: () => machine.log(),
    ...closable(async () => {
      closed = true;
      await kill();
      // A start that had not got as far as a process ends by itself now, with its own rejection.
      await starting?.catch(() => {});
      await machine.dispose();
    }),
  };

  try {
    await start();
  } catch (error) {
    await server.close();
    throw error;
  }
  return server;
}
