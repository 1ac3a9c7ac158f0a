import { spawn } from "node:child_process";

/** Something that cleans up behind this process. */
export interface Watchdog {
  /** Sets `$told` in the command, for what is not known from the beginning; an empty one means "nothing just now". */
  tell(word: string): void;
  /** There is nothing left to clean up. */
  callOff(): void;
}

/**
 * Runs a shell command when this process is gone, however it went: `process.once("exit")` does not see a signal, and a
 * test runner that loses its patience sends one. A shell waits for the end of a pipe, which the system closes for us.
 * In the command, `args` are `$1`, `$2`, …, and `$told` is what was told last. Does nothing on Windows.
 */
export function watchdog(command: string, ...args: string[]): Watchdog {
  if (process.platform === "win32") return { tell: () => {}, callOff: () => {} };
  const script = `told=; while read -r word; do told=$word; done; ${command}`;
  const shell = spawn("/bin/sh", ["-c", script, "sh", ...args], {
    stdio: ["pipe", "ignore", "ignore"],
    // A process group of its own, so that Ctrl-C in a terminal does not end the watchdog first.
    detached: true,
  });
  shell.on("error", () => {});
  shell.stdin.on("error", () => {});
  // Neither may keep this process alive: that would turn the purpose around. The pipe is a socket, which the type hides.
  shell.unref();
  if ("unref" in shell.stdin && typeof shell.stdin.unref === "function") shell.stdin.unref();
  return {
    tell: (word) => void shell.stdin.write(`${word}\n`),
    callOff: () => void shell.kill("SIGKILL"),
  };
}
