import { setTimeout as sleep } from "node:timers/promises";
import { tcpProxy } from "@rollcall/testing";
import { describe, expect, it, onTestFinished } from "vitest";
import { type ChildApp, startChild } from "../../../scripts/demo/child-app.ts";
import type { Line } from "../../../scripts/demo/line.ts";
import { memoryStage } from "../../../scripts/demo/memory-stage.ts";
import type { Stage } from "../../../scripts/demo/stage.ts";
import { story } from "../../../scripts/demo/story.ts";

const DEMO = new URL("../../../scripts/demo.mjs", import.meta.url);

function start(...args: readonly string[]): ChildApp {
  const child = startChild(DEMO, args);
  onTestFinished(async () => {
    await child.end("SIGKILL");
  });
  return child;
}

const texts = ({ lines }: ChildApp): readonly string[] => lines.map(({ text }) => text);

describe("the demo", { timeout: 120_000 }, () => {
  it("tells its story on the embedded registry, and exits with 0 when every line held", async () => {
    const child = start();
    expect(await child.ended).toEqual({ code: 0, signal: null });
    const printed = texts(child);
    const table = printed.slice(printed.findIndex((line) => line.startsWith("what happened")) + 1);
    expect(table.slice(0, 8).map((line) => line.replace(/ {2,}/g, " | "))).toEqual([
      expect.stringMatching(/^both servers found \| – \| – \| ok \| /),
      "20 calls, 10 each | 20 | 0 | ok | nest 10, express 10",
      expect.stringMatching(/^one stopped gracefully \| \d{3} \| 0 \| ok \| /),
      "it comes back | 20 | 0 | ok | nest 10, express 10",
      expect.stringMatching(/^one killed hard \| \d{3} \| 0 \| ok \| /),
      "it comes back, too | 20 | 0 | ok | nest 10, express 10",
      expect.stringMatching(/^registry gone \| \d{3} \| 0 \| ok \| /),
      expect.stringMatching(/^registry back \| \d{3} \| 0 \| ok \| /),
    ]);
    expect(printed.at(-1)).toMatch(/^Every line held, in \d+\.\d s\.$/);
  });

  it("leaves everything running with --keep, says what to try, and ends with Ctrl-C", async () => {
    const child = start("--keep", "--registry", "memory:");
    const [, url = ""] = await child.printed(/curl -i -X POST (\S+)\/sd-lorem/, 60_000);
    const response = await fetch(`${url}/api/lorem/word/3/3`, { method: "POST" });
    expect([response.status, await response.json()]).toEqual([200, { message: expect.stringMatching(/^[a-z]{3}$/) }]);
    expect(await child.end("SIGINT")).toEqual({ code: 0, signal: null });
  });

  it.each(["Setting the stage", "Stopping the Nest server"])(
    'ends everything, tells no more, and exits with 130 when it is interrupted at "%s"',
    async (moment) => {
      const child = start();
      await child.printed(new RegExp(moment), 60_000);
      expect(await child.end("SIGINT")).toEqual({ code: 130, signal: null });
      expect(texts(child).at(-1)).toBe("Ending …");
    },
  );

  it.each([
    [["--nonsense"], "demo: Unknown option '--nonsense' (--help shows what there is)"],
    [["--registry"], "demo: Option '--registry <value>' argument missing (--help shows what there is)"],
    [
      ["--registry", "redis"],
      'demo: --registry must be memory, consul, etcd, zookeeper, dns, or one of the last four with ://host:port, not "redis" (--help shows what there is)',
    ],
  ])("exits with 2 and one line for %j", async (args, line) => {
    const child = start(...args);
    expect(await child.ended).toEqual({ code: 2, signal: null });
    expect(texts(child)).toEqual([line]);
  });

  it("exits with 1 and says why when there is no Consul where it was told to look", async () => {
    const child = start("--registry", "consul://127.0.0.1:9");
    expect(await child.ended).toEqual({ code: 1, signal: null });
    expect(texts(child).at(-1)).toMatch(/^demo: Consul at 127\.0\.0\.1:9: not within 5 s/);
  });
});

/** The lines of the story on a stage of which something is not as it should be. */
async function linesOn(sabotage: (stage: Stage) => Partial<Stage> | Promise<Partial<Stage>>): Promise<readonly Line[]> {
  const stage = await memoryStage();
  onTestFinished(() => stage.close());
  const lines: Line[] = [];
  for await (const line of story({ ...stage, ...(await sabotage(stage)) }, () => undefined)) lines.push(line);
  return lines;
}

const failed = (lines: readonly Line[]): readonly Line[] => lines.filter(({ ok }) => !ok);

describe("the demo's story", { timeout: 120_000 }, () => {
  it("does not hold when the registry was not gone", async () => {
    const lines = await linesOn(() => ({ loseRegistry: async () => undefined }));
    expect(failed(lines)).toEqual([expect.objectContaining({ title: "registry gone", seen: "but it still answers" })]);
  });

  it("does not hold when a server that should stop goes on", async () => {
    await expect(linesOn(() => ({ stopServer: async () => undefined }))).rejects.toThrow(/answers from .* alone/);
  });

  it("does not hold when calls fail", async () => {
    const lines = await linesOn(async (stage) => {
      const { hostname: host, port } = new URL(stage.clientUrl);
      const proxy = await tcpProxy({ target: { host, port: Number(port) } });
      onTestFinished(() => proxy.close());
      return {
        clientUrl: proxy.url,
        async killServer(server) {
          await stage.killServer(server);
          await proxy.cut();
          await sleep(100);
          await proxy.open();
        },
      };
    });
    expect(failed(lines)).toEqual([
      expect.objectContaining({ title: "one killed hard", seen: expect.stringMatching(/^the first failure: /) }),
    ]);
    expect(failed(lines)[0]?.tally?.failures.length).toBeGreaterThan(5);
  });
});
