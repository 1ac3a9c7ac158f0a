import { isDiscoveryError } from "@rollcall/core";
import { UsageError } from "./command-line.ts";

/** An application that serves until it is stopped. */
export interface Running {
  /** Ends it in good order. Called once. */
  stop(): Promise<void>;
}

/** What {@link runApp} needs of the process. */
export interface Host {
  on(signal: "SIGTERM" | "SIGINT", listener: (signal: NodeJS.Signals) => void): unknown;
  exit(code: number): void;
  print(line: string): void;
  complain(line: string): void;
}

const thisProcess: Host = {
  on: (signal, listener) => process.on(signal, listener),
  exit: (code) => process.exit(code),
  print: (line) => process.stdout.write(`${line}\n`),
  complain: (line) => process.stderr.write(`${line}\n`),
};

/**
 * Runs one application in this process, from its start to its exit code: 0 after SIGTERM or SIGINT (which stop it in
 * good order; a second one ends it at once, with 1), 1 if it cannot start or stop, and 2 if it was told something that
 * cannot work. What is printed is one line each, with the name in front.
 */
export async function runApp(
  name: string,
  start: (print: (line: string) => void) => Promise<Running>,
  host: Host = thisProcess,
): Promise<void> {
  const print = (line: string): void => host.print(`${name}: ${line}`);
  const fail = (error: unknown): void => {
    host.complain(`${name}: ${explain(error)}`);
    host.exit(error instanceof UsageError || isDiscoveryError(error, "INVALID_OPTION") ? 2 : 1);
  };
  // From the very first moment: process 1 of a container is deaf to signals that it does not listen to.
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopping) return host.exit(1);
    stopping = true;
    print(`${signal}: stopping`);
    void started
      ?.then((running) => running.stop())
      .then(() => {
        print("stopped");
        host.exit(0);
      }, fail);
  };
  host.on("SIGTERM", onSignal);
  host.on("SIGINT", onSignal);
  let started: Promise<Running> | undefined;
  try {
    started = start(print);
    await started;
  } catch (error) {
    if (!stopping) fail(error);
  }
}

/** An error in one line, in the words of somebody who wants to start a server. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code, port } = error as Error & { readonly code?: unknown; readonly port?: unknown };
  if (code === "EADDRINUSE") return `port ${String(port)} is in use`;
  if (code === "EACCES") return `port ${String(port)} may not be used by this user`;
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND") return `no such address on this machine (${error.message})`;
  return error.message.split("\n", 1)[0] ?? "";
}
