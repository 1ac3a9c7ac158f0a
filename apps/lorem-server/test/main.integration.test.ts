import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { type ChildApp, startChild } from "../../../scripts/demo/child-app.ts";

const MAIN = new URL("../dist/main.js", import.meta.url);

function start(...args: readonly string[]): ChildApp {
  const child = startChild(MAIN, args);
  onTestFinished(async () => {
    await child.end("SIGKILL");
  });
  return child;
}

async function takenPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

const texts = ({ lines }: ChildApp): string[] => lines.map(({ text }) => text);

describe.each(["nest", "express"])("the lorem-server program on %s", (framework) => {
  it("serves until SIGTERM, and exits with 0", async () => {
    const child = start("--registry", "memory:", "--framework", framework, "--host", "127.0.0.1", "--drain-ms", "0");
    const [, url = "", id = ""] = await child.printed(/listening on (\S+) \(\w+, instance (\S+)\)/);
    const response = await fetch(`${url}/lorem/word/3/3`, { method: "POST" });
    expect([response.status, response.headers.get("x-instance")]).toEqual([200, id]);
    expect(await response.json()).toEqual({ message: expect.stringMatching(/^[a-z]{3}$/) });
    expect(await child.end("SIGTERM")).toEqual({ code: 0, signal: null });
    expect(texts(child)).toEqual([
      `lorem-server: listening on ${url} (${framework}, instance ${id})`,
      "lorem-server: registered as lorem [lorem, ru-rocker] in memory",
      "lorem-server: SIGTERM: stopping",
      "lorem-server: deregistered from memory",
      "lorem-server: stopped",
    ]);
  });

  it("exits with 1 and one line when its port is in use", async () => {
    const port = await takenPort();
    const child = start(
      "--registry",
      "memory:",
      "--framework",
      framework,
      "--host",
      "127.0.0.1",
      "--port",
      String(port),
    );
    expect(await child.ended).toEqual({ code: 1, signal: null });
    expect(texts(child)).toEqual([`lorem-server: port ${port} is in use`]);
  });
});

describe("the lorem-server program", () => {
  it.each([
    [
      ["--registry", "redis://somewhere"],
      '--registry must be memory:, consul://host:port, etcd://host:port, zookeeper://host:port or dns://host:port, not "redis://somewhere"',
    ],
    [["--framework", "koa"], '--framework must be nest or express, not "koa"'],
    [["--port", "70000"], '--port must be a whole number from 0 to 65535, not "70000"'],
    [["--drain-ms", "soon"], '--drain-ms must be a whole number from 0 to 600000, not "soon"'],
    [["--prot", "1"], "Unknown option '--prot'"],
  ])("exits with 2 and one line for %j", async (args, line) => {
    const child = start(...args);
    expect(await child.ended).toEqual({ code: 2, signal: null });
    expect(texts(child)).toEqual([`lorem-server: ${line}`]);
  });

  it("exits with 1 and one line for an address that this machine does not have", async () => {
    const child = start("--registry", "memory:", "--host", "192.0.2.1");
    expect(await child.ended).toEqual({ code: 1, signal: null });
    expect(texts(child)).toEqual([
      expect.stringMatching(/^lorem-server: no such address on this machine \(.*192\.0\.2\.1/),
    ]);
  });

  it("exits with 2 and one line for a host that cannot be advertised", async () => {
    const child = start("--registry", "memory:", "--advertise-host", "http://lorem");
    expect(await child.ended).toEqual({ code: 2, signal: null });
    expect(texts(child)).toEqual([expect.stringMatching(/^lorem-server: .*host.*"http:\/\/lorem"/)]);
  });

  it("explains itself, and exits with 0", async () => {
    const child = start("--help");
    expect(await child.ended).toEqual({ code: 0, signal: null });
    for (const option of ["--registry", "--framework", "--port", "--host", "--advertise-host", "--drain-ms"]) {
      expect(texts(child).join("\n")).toContain(option);
    }
  });
});
