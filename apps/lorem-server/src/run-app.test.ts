import { describe, expect, it } from "vitest";
import { UsageError } from "./command-line.ts";
import { type Host, runApp } from "./run-app.ts";

/** A process that writes down what happens to it. */
function host() {
  const said: string[] = [];
  const listeners: ((signal: NodeJS.Signals) => void)[] = [];
  const exited = Promise.withResolvers<number>();
  const process: Host = {
    on: (signal, listener) => (signal === "SIGTERM" ? listeners.push(listener) : undefined),
    exit: (code) => exited.resolve(code),
    print: (line) => said.push(line),
    complain: (line) => said.push(`! ${line}`),
  };
  return { said, process, exited: exited.promise, sigterm: () => listeners.forEach((listener) => listener("SIGTERM")) };
}

const failed = (properties: object): Promise<never> => Promise.reject(Object.assign(new Error(), properties));

describe("runApp", () => {
  it("stops in good order when a signal comes, and exits with 0", async () => {
    const { process, said, exited, sigterm } = host();
    await runApp("app", async (print) => (print("listening"), { stop: async () => print("draining") }), process);
    sigterm();
    expect(await exited).toBe(0);
    expect(said).toEqual(["app: listening", "app: SIGTERM: stopping", "app: draining", "app: stopped"]);
  });

  it("stops what is still starting, once it has started", async () => {
    const { process, said, exited, sigterm } = host();
    const start = Promise.withResolvers<void>();
    const running = runApp(
      "app",
      async (print) => {
        await start.promise;
        print("listening");
        return { stop: async () => print("draining") };
      },
      process,
    );
    sigterm();
    start.resolve();
    await running;
    expect(await exited).toBe(0);
    expect(said).toEqual(["app: SIGTERM: stopping", "app: listening", "app: draining", "app: stopped"]);
  });

  it("exits with 1 at a second signal, without waiting any longer", async () => {
    const { process, exited, sigterm } = host();
    await runApp("app", async () => ({ stop: () => new Promise(() => undefined) }), process);
    sigterm();
    sigterm();
    expect(await exited).toBe(1);
  });

  it.each([
    [new UsageError("--port must be a number"), 2, "! app: --port must be a number"],
    [Object.assign(new Error("listen EADDRINUSE"), { code: "EADDRINUSE", port: 80 }), 1, "! app: port 80 is in use"],
    [
      Object.assign(new Error("listen EACCES"), { code: "EACCES", port: 80 }),
      1,
      "! app: port 80 may not be used by this user",
    ],
    [new Error("one\nand more"), 1, "! app: one"],
    ["a text", 1, "! app: a text"],
  ])("exits in one line when it cannot start: %s", async (error, code, line) => {
    const { process, said, exited } = host();
    await runApp("app", () => Promise.reject(error), process);
    expect(await exited).toBe(code);
    expect(said).toEqual([line]);
  });

  it("exits with 1 when it cannot stop in good order", async () => {
    const { process, said, exited, sigterm } = host();
    await runApp("app", async () => ({ stop: () => failed({ message: "the pool would not close" }) }), process);
    sigterm();
    expect(await exited).toBe(1);
    expect(said.at(-1)).toBe("! app: the pool would not close");
  });
});
