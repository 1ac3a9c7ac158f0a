/** What differs between a server that runs as a process and one that runs in a container. */
export interface Machine {
  readonly pid: number | undefined;
  /** Starts it; resolves as soon as it runs, long before it is ready. */
  start(): Promise<Life>;
  /** Sends a signal to what was started last. */
  signal(signal: NodeJS.Signals): Promise<void>;
  /** Deletes the data of a server that does not run. */
  wipe(): Promise<void>;
  /** Copies the data of a server that does not run; the copy before is forgotten. */
  save(): Promise<void>;
  /** Puts the copy in the place of the data of a server that does not run. Rejects if there is none. */
  restore(): Promise<void>;
  /** The last of what it printed. */
  log(): string;
  /** Frees everything that is left, running or not. */
  dispose(): Promise<void>;
}

/** One run of a server from its start to its end. */
export interface Life {
  /** Resolves when it has ended, with how: `exit code 1`, `SIGKILL`. Never rejects. */
  readonly ended: Promise<string>;
}

/** How much of a server's output is kept. */
const LOG_CHARACTERS = 20_000;

/** Keeps the last 20 kB of what is appended. */
export function logTail(): { append(chunk: unknown): void; read(): string } {
  let tail = "";
  return {
    append: (chunk) => void (tail = (tail + String(chunk)).slice(-LOG_CHARACTERS)),
    read: () => tail,
  };
}
