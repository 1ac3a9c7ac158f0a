import { EventEmitter, once } from "node:events";
import { rm } from "node:fs/promises";
import { type RequestListener, type Server, createServer, get } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type MemoryRegistry, createRegistry, memoryRegistry } from "@rollcall/core";
import { manualClock } from "@rollcall/testing";
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { type AnnounceOptions, announce } from "./announce.ts";

const servers: Server[] = [];

function server(listener: RequestListener = (_, response) => response.end("served")): Server {
  const made = createServer(listener);
  servers.push(made);
  return made;
}

function listening(listener?: RequestListener): Server {
  return server(listener).listen(0, "127.0.0.1");
}

const portOf = (of: Server): number => (of.address() as AddressInfo).port;

function registry(): MemoryRegistry {
  const made = memoryRegistry();
  onTestFinished(() => made.close());
  return made;
}

const listenersOf = (of: Server): readonly number[] =>
  ["listening", "error", "close"].map((event) => of.listenerCount(event));

const quiet = { signals: false, drainMs: 0, service: "lorem" } as const;

async function status(port: number): Promise<number | undefined> {
  const request = get({ port, host: "127.0.0.1", agent: false });
  const [response] = await once(request, "response");
  response.resume();
  return response.statusCode;
}

afterEach(() => {
  for (const made of servers.splice(0)) {
    made.close();
    made.closeAllConnections();
  }
});

describe("announce", () => {
  it("registers a listening server at its own port and bound address", async () => {
    const there = registry();
    const own = listening();
    await using announced = await announce(own, {
      ...quiet,
      registry: there,
      tags: ["a"],
      weight: 2,
      metadata: { k: "v" },
    });
    expect(there.instances("lorem")).toEqual([
      expect.objectContaining({ host: "127.0.0.1", port: portOf(own), tags: ["a"], weight: 2, metadata: { k: "v" } }),
    ]);
    expect(announced.instance).toEqual(there.instances("lorem")[0]);
    expect(announced.registrar.registered).toBe(true);
    expect(announced.draining).toBe(false);
  });

  it("waits until the server listens, and registers nothing before", async () => {
    const there = registry();
    const own = server();
    const announcing = announce(own, { ...quiet, registry: there });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(there.instances("lorem")).toEqual([]);
    own.listen(0, "127.0.0.1");
    await using announced = await announcing;
    expect(there.instances("lorem")).toEqual([announced.instance]);
  });

  it("advertises the host and port that it is told", async () => {
    await using announced = await announce(listening(), {
      ...quiet,
      registry: registry(),
      host: "lorem.example",
      port: 80,
    });
    expect(announced.instance).toMatchObject({ host: "lorem.example", port: 80 });
  });

  it("rejects when the port is taken, registers nothing and leaves no listener", async () => {
    const there = registry();
    const first = listening();
    await once(first, "listening");
    const before = process.listenerCount("SIGTERM");
    const second = server();
    second.listen(portOf(first), "127.0.0.1");
    await expect(announce(second, { registry: there, service: "lorem" })).rejects.toMatchObject({ code: "EADDRINUSE" });
    expect(there.instances("lorem")).toEqual([]);
    expect(process.listenerCount("SIGTERM")).toBe(before);
    expect(listenersOf(second)).toEqual(listenersOf(server()));
  });

  it("needs to be told where a server on a Unix socket is reached", async () => {
    const path = join(tmpdir(), `announce-${process.pid}.sock`);
    onTestFinished(() => rm(path, { force: true }));
    const own = server().listen(path);
    await expect(announce(own, { ...quiet, registry: registry() })).rejects.toMatchObject({
      code: "INVALID_OPTION",
      path: "port",
    });
    await using announced = await announce(own, { ...quiet, registry: registry(), host: "10.0.0.1", port: 80 });
    expect(announced.instance).toMatchObject({ host: "10.0.0.1", port: 80 });
  });

  it.each<[string, Partial<Record<keyof AnnounceOptions | "drain", unknown>>]>([
    ["drain", { drain: 1 }],
    ["service", { service: "" }],
    ["service", { service: undefined }],
    ["host", { host: "http://x" }],
    ["port", { port: 0 }],
    ["port", { port: 65_536 }],
    ["weight", { weight: -1 }],
    ["drainMs", { drainMs: -1 }],
    ["graceMs", { graceMs: Number.NaN }],
    ["registry", { registry: undefined }],
    ["registry.registrar", { registry: { instancer: () => undefined } }],
    ["signals", { signals: "SIGTERM" }],
    ["signals", { signals: ["SIGTERM", "SIGNONE"] }],
    ["signals", { signals: ["SIGTERM", "SIGKILL"] }],
    ["closeAfter.0.close", { closeAfter: [{}] }],
    ["onDrained", { onDrained: 1 }],
    ["onError", { onError: 1 }],
  ])("refuses a wrong %s before the server listens", async (path, wrong) => {
    const own = server();
    const before = process.listenerCount("SIGTERM");
    const options = { ...quiet, registry: registry(), ...wrong } as AnnounceOptions;
    await expect(announce(own, options)).rejects.toMatchObject({ code: "INVALID_OPTION", path });
    expect(listenersOf(own)).toEqual(listenersOf(server()));
    expect(process.listenerCount("SIGTERM")).toBe(before);
  });

  it("refuses an application in place of its server, instead of waiting for ever for it to listen", async () => {
    const { on, once, off } = EventEmitter.prototype;
    const app = Object.assign(() => undefined, { on, once, off, listen: () => undefined });
    for (const wrong of [app, {}, 80, undefined]) {
      const announcing = announce(wrong as Server, { ...quiet, registry: registry() });
      await expect(announcing).rejects.toMatchObject({ code: "INVALID_OPTION", path: "server" });
    }
  });

  it("starts although the registry is down, says so once, and registers when it is back", async () => {
    const there = registry();
    there.stop(new Error("down"));
    const onError = vi.fn();
    const own = listening();
    await using announced = await announce(own, { ...quiet, registry: there, onError });
    expect(announced.registrar.registered).toBe(false);
    const message = `${announced.instance.id} could not be registered in "memory", and is tried again: down`;
    expect(onError).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ message }));
    expect(await status(portOf(own))).toBe(200);
    there.start();
    await vi.waitFor(() => expect(there.instances("lorem")).toEqual([announced.instance]), 5_000);
  });

  it("refuses to start without the registry if that is required, and then does not register later", async () => {
    const there = registry();
    there.stop(new Error("down"));
    const own = listening();
    const clock = manualClock();
    const options = { ...quiet, registry: there, required: true, env: clock.env };
    await expect(announce(own, options)).rejects.toThrow(
      /^lorem-127.0.0.1-\d+ could not be registered in "memory", as is required: down$/,
    );
    there.start();
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(there.instances("lorem")).toEqual([]);
    expect(own.listening).toBe(true);
  });

  it("can be given up while it waits for the server, and while it registers", async () => {
    const reason = new Error("enough");
    await expect(
      announce(server(), { ...quiet, registry: registry(), signal: AbortSignal.abort(reason) }),
    ).rejects.toBe(reason);
    const controller = new AbortController();
    const waiting = announce(server(), { ...quiet, registry: registry(), signal: controller.signal });
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);

    const hanging = createRegistry({
      name: "hanging",
      source: () => ({ name: "hanging", async *watch() {} }),
      sink: () => ({ name: "hanging", register: () => new Promise(() => undefined) }),
    });
    const second = new AbortController();
    const own = listening();
    const registering = announce(own, { ...quiet, registry: hanging, signal: second.signal });
    await once(own, "listening");
    setTimeout(() => second.abort(reason), 20);
    await expect(registering).rejects.toBe(reason);
  });

  it("leaves in the order that loses no call", async () => {
    const there = registry();
    const steps: string[] = [];
    const clock = manualClock();
    const own = listening();
    const announced = await announce(own, {
      ...quiet,
      registry: there,
      drainMs: 5_000,
      env: clock.env,
      onDrained: () => steps.push(own.listening ? "too early" : "drained"),
      closeAfter: [
        { close: async () => void steps.push("clients") },
        { close: async () => void steps.push("registry") },
      ],
    });
    const port = portOf(own);
    own.once("close", () => steps.push("server"));
    const closing = announced.close();
    expect(announced.draining).toBe(true);
    await vi.waitFor(() => expect(there.instances("lorem")).toEqual([]));
    await clock.advance(4_999);
    expect(await status(port)).toBe(200);
    expect(steps).toEqual([]);
    await clock.advance(1);
    await clock.advance(50); // nothing more comes
    await closing;
    expect(steps).toEqual(["drained", "server", "clients", "registry"]);
    await expect(status(port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(announced.close()).toBe(closing);
  });

  it("is not held up by a registry that is down at the end", async () => {
    const there = registry();
    const own = listening();
    const announced = await announce(own, { ...quiet, registry: there, drainMs: 20 });
    there.stop(new Error("down"));
    await announced.close();
    expect(own.listening).toBe(false);
  });

  it("does not wait for clients to notice an instance that never was in the registry", async () => {
    const there = registry();
    there.stop(new Error("down"));
    const announced = await announce(listening(), {
      ...quiet,
      registry: there,
      drainMs: 60_000,
      onError: () => undefined,
    });
    await announced.close();
  });

  it("deregisters at once when the application closes the server itself", async () => {
    const there = registry();
    const own = listening();
    const announced = await announce(own, { ...quiet, registry: there, drainMs: 60_000 });
    own.close();
    await vi.waitFor(() => expect(there.instances("lorem")).toEqual([]));
    await announced.close();
  });

  it("goes on if onDrained fails, also later, and then rejects with its error", async () => {
    const failure = new Error("no goodbye");
    for (const onDrained of [
      () => {
        throw failure;
      },
      () => Promise.reject(failure),
    ]) {
      const close = vi.fn(async () => undefined);
      const options = { ...quiet, registry: registry(), onDrained, closeAfter: [{ close }] };
      const announced = await announce(listening(), options);
      await expect(announced.close()).rejects.toBe(failure);
      expect(close).toHaveBeenCalledOnce();
    }
  });

  it("closes everything in closeAfter even if one fails, and then rejects with its error", async () => {
    const failure = new Error("did not close");
    const close = vi.fn(async () => undefined);
    const closeAfter = [{ close: () => Promise.reject(failure) }, { close }];
    const announced = await announce(listening(), { ...quiet, registry: registry(), closeAfter });
    await expect(announced.close()).rejects.toBe(failure);
    expect(close).toHaveBeenCalledOnce();
  });
});

describe("announce, on signals", () => {
  it("shuts down at the first one, and stops listening for it then", async () => {
    const there = registry();
    const before = process.listenerCount("SIGTERM");
    const own = listening();
    const announced = await announce(own, { registry: there, service: "lorem", drainMs: 0 });
    expect(process.listenerCount("SIGTERM")).toBe(before + 1);
    process.emit("SIGTERM", "SIGTERM");
    expect(announced.draining).toBe(true);
    await once(own, "close");
    await announced.close();
    expect(there.instances("lorem")).toEqual([]);
    expect(process.listenerCount("SIGTERM")).toBe(before);
  });

  it("forces at the second one: no more waiting, connections are cut", async () => {
    const there = registry();
    const own = listening((_, response) => response.write("never ends"));
    const announced = await announce(own, { registry: there, service: "lorem", drainMs: 60_000, graceMs: 60_000 });
    const request = get({ port: portOf(own), host: "127.0.0.1" });
    const [response] = await once(request, "response");
    request.on("error", () => undefined); // comes with a reset besides the answer's own
    const failed = once(response, "error");
    process.emit("SIGINT", "SIGINT");
    await vi.waitFor(() => expect(there.instances("lorem")).toEqual([]));
    process.emit("SIGTERM", "SIGTERM");
    await announced.close();
    expect((await failed)[0]).toMatchObject({ code: "ECONNRESET" });
  });

  it("does not wait for what is closed last, either, after the second one", async () => {
    const close = vi.fn(() => new Promise<void>(() => undefined));
    const closeAfter = [{ close }, { close }];
    const own = listening();
    const announced = await announce(own, { registry: registry(), service: "lorem", drainMs: 0, closeAfter });
    process.emit("SIGTERM", "SIGTERM");
    await vi.waitFor(() => expect(close).toHaveBeenCalledOnce());
    process.emit("SIGTERM", "SIGTERM");
    await announced.close();
    expect(close).toHaveBeenCalledTimes(2);
  });

  it("listens to those it is told, or to none", async () => {
    const before = ["SIGTERM", "SIGINT", "SIGUSR2"].map((signal) => process.listenerCount(signal));
    await using none = await announce(listening(), { ...quiet, registry: registry() });
    expect(none.draining).toBe(false);
    expect(["SIGTERM", "SIGINT", "SIGUSR2"].map((signal) => process.listenerCount(signal))).toEqual(before);
    const one = await announce(listening(), { ...quiet, registry: registry(), signals: ["SIGUSR2"] });
    process.emit("SIGUSR2", "SIGUSR2");
    expect(one.draining).toBe(true);
    await one.close();
  });

  it("ends a start that is still waiting for the server", async () => {
    const announcing = announce(server(), { registry: registry(), service: "lorem" });
    process.emit("SIGTERM", "SIGTERM");
    await expect(announcing).rejects.toMatchObject({ code: "CLOSED" });
  });

  it("serves on until the last of several registries has let it go", async () => {
    const there = registry();
    const own = listening();
    const short = await announce(own, { ...quiet, registry: there, drainMs: 1, signals: ["SIGTERM"] });
    const long = await announce(own, { ...quiet, registry: registry(), drainMs: 150, signals: ["SIGTERM"] });
    process.emit("SIGTERM", "SIGTERM");
    await vi.waitFor(() => expect(there.instances("lorem")).toEqual([]));
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(await status(portOf(own))).toBe(200);
    await Promise.all([short.close(), long.close()]);
    expect(own.listening).toBe(false);
  });

  it.each([false, true])(
    "ends a start that is still registering, and registers nothing after (required: %s)",
    async (mustBe) => {
      let accept = (): void => undefined;
      const removed = vi.fn(async () => undefined);
      const slow = createRegistry({
        name: "slow",
        source: () => ({ name: "slow", async *watch() {} }),
        sink: () => ({
          name: "slow",
          register: () => new Promise((resolve) => (accept = () => resolve({ remove: removed }))),
        }),
      });
      const own = listening();
      const announcing = announce(own, { registry: slow, service: "lorem", drainMs: 0, required: mustBe });
      await once(own, "listening");
      await new Promise((resolve) => setTimeout(resolve, 20));
      process.emit("SIGTERM", "SIGTERM");
      const announced = await announcing;
      expect(announced.draining).toBe(true);
      await announced.close();
      accept();
      await vi.waitFor(() => expect(removed).toHaveBeenCalled());
      expect(announced.registrar.registered).toBe(false);
    },
  );
});
