import { afterEach, describe, expect, it, vi } from "vitest";
import { startConsul } from "./consul.ts";
import { serverSkipped } from "./server-skipped.ts";

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

describe("serverSkipped", () => {
  it("skips what SKIP_SERVERS names, and nothing else", () => {
    vi.spyOn(process.stderr, "write").mockReturnValue(true);
    expect(serverSkipped("zookeeper", {})).toBe(false);
    expect(serverSkipped("zookeeper", { SKIP_SERVERS: "" })).toBe(false);
    expect(serverSkipped("zookeeper", { SKIP_SERVERS: "consul" })).toBe(false);
    expect(serverSkipped("zookeeper", { SKIP_SERVERS: "consul, ZooKeeper" })).toBe(true);
  });

  it("says so on stderr, once for each server", () => {
    const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    for (let round = 0; round < 3; round++) serverSkipped("eureka", { SKIP_SERVERS: "eureka,nacos" });
    serverSkipped("nacos", { SKIP_SERVERS: "eureka,nacos" });
    expect(write.mock.calls.map(([text]) => text)).toEqual([
      "SKIP_SERVERS: the tests that need a real eureka are left out\n",
      "SKIP_SERVERS: the tests that need a real nacos are left out\n",
    ]);
  });

  it("lets nobody start a server that is to be left out", async () => {
    vi.spyOn(process.stderr, "write").mockReturnValue(true);
    vi.stubEnv("SKIP_SERVERS", "consul");
    await expect(startConsul()).rejects.toThrow('SKIP_SERVERS leaves out consul: ask serverSkipped("consul")');
  });
});

describe("startConsul", () => {
  it.each([
    [{ prot: 1 }, "prot"],
    [{ port: 0 }, "port"],
    [{ args: "-dev" }, "args"],
    [{ token: "" }, "token"],
    [{ startTimeoutMs: -1 }, "startTimeoutMs"],
    [{ faults: ["kil"] }, "faults"],
  ])("refuses the options %j", async (options, path) => {
    await expect(startConsul(options as Parameters<typeof startConsul>[0])).rejects.toMatchObject({
      code: "INVALID_OPTION",
      path,
    });
  });
});
