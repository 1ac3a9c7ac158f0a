import { spawn } from "node:child_process";

/**
 * Runs a shell command when this process is gone, however it went: `process.once("exit")` does not see a signal, and a
 * test runner that loses its patience sends one. A shell waits for the end of a pipe, which the system closes for us.
 * `args` are `$1`, `$2`, … in the command. Returns a function that calls it off. Does nothing on Windows.
 */
export function watchdog(command: string, ...args: string[]): () => void {
  if (process.platform === "win32") return () => {};
  const shell = spawn("/bin/sh", ["-c", `read -r _; ${command}`, "sh", ...args], {
    stdio: ["pipe", "ignore", "ignore"],
    // A process group of its own, so that Ctrl-C in a terminal does not end the watchdog first.
    detached: true,
  });
  shell.on("error", () => {});
  shell.stdin.on("error", () => {});
  // Neither may keep this process alive: that would turn the purpose around. The pipe is a socket, which the type hides.
  shell.unref();
  if ("unref" in shell.stdin && typeof shell.stdin.unref === "function") shell.stdin.unref();
  return () => void shell.kill("SIGKILL");
}
