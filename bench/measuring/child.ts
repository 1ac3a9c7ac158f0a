import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";

/** A process of this benchmark. */
export interface Child {
  /** What it said when it was ready. */
  readonly said: unknown;
  /** The time of a processor that it has used so far, in milliseconds. */
  cpuMs(): Promise<number>;
  /** Asks anything else. One question at a time. */
  ask(question: unknown): Promise<unknown>;
  close(): Promise<void>;
}

/** Starts a program and waits until it says that it is ready. */
export async function child(program: URL, args: readonly string[], execArgv: readonly string[] = []): Promise<Child> {
  const forked = fork(program, args, { execArgv: [...process.execArgv, ...execArgv] });
  const said = await answer(forked);
  const ask = (question: unknown): Promise<unknown> => {
    const answered = answer(forked);
    forked.send(question as string);
    return answered;
  };
  return {
    said,
    ask,
    cpuMs: async () => {
      const { user, system } = (await ask("cpu")) as NodeJS.CpuUsage;
      return (user + system) / 1_000;
    },
    close: async () => {
      const gone = once(forked, "exit");
      forked.disconnect();
      await gone;
    },
  };
}

function answer(forked: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => reject(new Error(`a child process ended, code ${code}`));
    forked.once("exit", onExit);
    forked.once("message", (message) => {
      forked.off("exit", onExit);
      resolve(message);
    });
  });
}
