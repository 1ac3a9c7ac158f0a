import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { whyNoDocker } from "./docker-runtime.ts";

/** What an engine says about its images, on a real socket. What is beyond that needs a real engine. */
let folder: string;
let socket: string;
let engine: Server;
let status: (url: string) => number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rollcall-test-"));
  socket = join(folder, "docker.sock");
  engine = createServer((request, response) => response.writeHead(status(request.url ?? "")).end("{}")).listen(socket);
  await once(engine, "listening");
});

afterEach(async () => {
  engine.close();
  await rm(folder, { recursive: true, force: true });
});

describe.skipIf(process.platform === "win32")("whyNoDocker", () => {
  it("says so when there is no engine", async () => {
    expect(await whyNoDocker("consul:1", false, {}, [join(folder, "nothing")])).toMatch(/^there is no Docker engine/);
  });

  it("names every image that is not at hand, and what can be done about it", async () => {
    status = () => 404;
    expect(await whyNoDocker("some/consul:1", false, {}, [socket])).toBe(
      "not at hand: some/consul:1, testcontainers/ryuk:0.14.0; TEST_PULL=1 lets images be pulled (TESTCONTAINERS_RYUK_DISABLED=true does without ryuk)",
    );
    status = (url) => (url === "/images/some/consul:1/json" ? 200 : 404);
    expect(await whyNoDocker("some/consul:1", false, { RYUK_CONTAINER_IMAGE: "mirror.test/ryuk" }, [socket])).toMatch(
      /^not at hand: mirror\.test\/ryuk; /,
    );
  });

  it("does not ask for ryuk when it is disabled", async () => {
    status = () => 404;
    expect(await whyNoDocker("consul:1", false, { TESTCONTAINERS_RYUK_DISABLED: "true" }, [socket])).toBe(
      "not at hand: consul:1; TEST_PULL=1 lets images be pulled",
    );
  });

  it("gives the engine's answer as the reason when it is neither yes nor no", async () => {
    status = () => 500;
    expect(await whyNoDocker("consul:1", false, {}, [socket])).toContain("answered 500 to /images/consul:1/json");
  });

  it("says so when what is there is no socket of an engine", async () => {
    expect(await whyNoDocker("consul:1", false, {}, [folder])).toContain(`no Docker engine answers at ${folder}`);
  });
});
