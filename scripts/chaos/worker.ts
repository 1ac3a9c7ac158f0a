import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** What a worker can be asked for: each takes one argument, if any, that fits into JSON, as its answer does. */
export type Methods = { readonly [name: string]: (argument: never) => Promise<unknown> };

/** A process of its own that can be asked for things. */
export interface Worker<M extends Methods> {
  readonly pid: number | undefined;
  /** Rejects with the worker's error, when it ends, and when it does not answer in time. */
  ask<K extends keyof M & string>(name: K, ...argument: Parameters<M[K]>): ReturnType<M[K]>;
  /** Lets it end by itself; ends it after `withinMs`. Resolves with whether it could by itself. */
  retire(withinMs: number): Promise<boolean>;
  /** `kill -9`; resolves when it is gone. */
  kill(): Promise<void>;
}

interface WorkerOptions {
  readonly script: URL;
  /** For Node. */
  readonly flags?: readonly string[];
  /** Nothing that it is asked for takes longer. */
  readonly answerMs: number;
}

const children = new Set<ChildProcess>();
// Nobody is left behind: those that are told nothing end when they are disconnected.
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

/** Starts the script of a worker, which calls `answer` with its methods. */
export function startWorker<M extends Methods>({ script, flags = [], answerMs }: WorkerOptions): Worker<M> {
  const child = fork(fileURLToPath(script), {
    execArgv: ["--conditions=@rollcall/source", ...flags],
    // In a group of its own: Ctrl-C at the terminal is for the first process, which ends the others.
    detached: true,
  });
  children.add(child);
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let asked = 0;
  child.on("message", (message) => {
    const { id, answer, error } = message as {
      readonly id: number;
      readonly answer?: unknown;
      readonly error?: string;
    };
    const asker = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) asker?.resolve(answer);
    else asker?.reject(new Error(error));
  });
  const ended = new Promise<void>((resolve) => {
    const end = (why: string): void => {
      children.delete(child);
      for (const asker of waiting.values()) asker.reject(new Error(`the worker ended (${why})`));
      waiting.clear();
      resolve();
    };
    child.once("error", (error) => end(error.message));
    child.once("exit", (code, signal) => end(signal ?? `exit code ${code}`));
  });

  const ask = (name: string, ...argument: readonly unknown[]): Promise<unknown> => {
    const id = ++asked;
    const asker = Promise.withResolvers<unknown>();
    waiting.set(id, asker);
    const timer = setTimeout(() => asker.reject(new Error(`no answer to ${name}`)), answerMs);
    child.send({ id, name, argument: argument[0] }, (error) => {
      if (error !== null) asker.reject(error);
    });
    return asker.promise.finally(() => {
      clearTimeout(timer);
      waiting.delete(id);
    });
  };
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL");
    await ended;
  };
  return {
    pid: child.pid,
    ask: ask as unknown as Worker<M>["ask"],
    async retire(withinMs) {
      if (child.connected) child.disconnect();
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        child.kill("SIGKILL");
      }, withinMs);
      await ended;
      clearTimeout(timer);
      return !late;
    },
    kill,
  };
}

/** How long a worker that was closed and has lost its parent may go on. */
const ORPHAN_MS = 10_000;

/** The worker's side. It ends with its parent; once `close` was asked for, only when nothing is left to keep it alive. */
export function answer(methods: Methods): void {
  let closed = false;
  process.once("disconnect", () => {
    if (!closed) process.exit(1);
    setTimeout(() => process.exit(1), ORPHAN_MS).unref();
  });
  process.on("message", (message) => {
    const { id, name, argument } = message as {
      readonly id: number;
      readonly name: string;
      readonly argument: unknown;
    };
    const reply = (content: object): void => void process.send?.({ id, ...content });
    const method = methods[name] as ((argument: unknown) => Promise<unknown>) | undefined;
    if (method === undefined) return reply({ error: `there is no ${name}` });
    closed ||= name === "close";
    method(argument).then(
      (result) => reply({ answer: result }),
      (error: unknown) => reply({ error: error instanceof Error ? error.message : String(error) }),
    );
  });
}
