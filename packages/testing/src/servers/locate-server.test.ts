import { describe, expect, it } from "vitest";
import { consulKind } from "./consul.ts";
import { etcdKind } from "./etcd.ts";
import { knotKind } from "./knot.ts";
import { locateServer, type Surroundings } from "./locate-server.ts";

/** A machine that has nothing, but for what a test gives it; `asked` tells in which order it was searched. */
function machine(given: Partial<Surroundings> = {}): { surroundings: Surroundings; asked: string[] } {
  const asked: string[] = [];
  const surroundings: Surroundings = {
    env: given.env ?? {},
    findExecutable(name) {
      asked.push(`executable ${name}`);
      return given.findExecutable?.(name) ?? Promise.resolve(undefined);
    },
    whyNoDocker(image, mayPull) {
      asked.push(`docker ${image}${mayPull ? " or pull" : ""}`);
      return given.whyNoDocker?.(image, mayPull) ?? Promise.resolve("there is no Docker engine");
    },
    unpackDebian(debian) {
      asked.push(`debian ${debian.suite}`);
      return given.unpackDebian?.(debian) ?? Promise.reject(new Error("there is no apt-get here"));
    },
  };
  return { surroundings, asked };
}

const everything: Partial<Surroundings> = {
  findExecutable: (name) => Promise.resolve(name.startsWith("/") ? name : `/usr/bin/${name}`),
  whyNoDocker: () => Promise.resolve(undefined),
  unpackDebian: () => Promise.resolve("/cache/consul"),
};

describe("locateServer", () => {
  it("takes the address in the environment first, and asks for nothing else", async () => {
    const { surroundings, asked } = machine({ ...everything, env: { CONSUL_HTTP_ADDR: "10.0.0.1:8500" } });
    expect(await locateServer(consulKind(), [], surroundings)).toEqual({
      via: "environment",
      url: "http://10.0.0.1:8500",
    });
    expect(asked).toEqual([]);
  });

  it("takes a binary before Docker, and the one in CONSUL_BIN before the one on PATH", async () => {
    const onPath = machine(everything);
    expect(await locateServer(consulKind(), [], onPath.surroundings)).toEqual({
      via: "binary",
      binary: "/usr/bin/consul",
    });
    expect(onPath.asked).toEqual(["executable consul"]);
    const named = machine({ ...everything, env: { CONSUL_BIN: "/opt/consul" } });
    expect(await locateServer(consulKind(), [], named.surroundings)).toEqual({ via: "binary", binary: "/opt/consul" });
  });

  it("takes Docker before Debian's packages, with the image and the leave to pull from the environment", async () => {
    const { whyNoDocker, unpackDebian } = everything;
    const plain = machine({ whyNoDocker, unpackDebian } as Partial<Surroundings>);
    expect(await locateServer(consulKind(), [], plain.surroundings)).toEqual({
      via: "docker",
      image: "hashicorp/consul:1.21",
    });
    const env = { CONSUL_IMAGE: "mirror.test/consul:1", TEST_PULL: "1" };
    const chosen = machine({ whyNoDocker, env } as Partial<Surroundings>);
    expect(await locateServer(consulKind(), [], chosen.surroundings)).toEqual({
      via: "docker",
      image: "mirror.test/consul:1",
    });
    expect(chosen.asked).toEqual(["executable consul", "docker mirror.test/consul:1 or pull"]);
  });

  it("unpacks Debian's packages when nothing else is there", async () => {
    const { surroundings, asked } = machine({ unpackDebian: () => Promise.resolve("/cache/etcd") });
    expect(await locateServer(etcdKind(), [], surroundings)).toEqual({ via: "debian", binary: "/cache/etcd" });
    expect(asked).toEqual(["executable etcd", "docker quay.io/coreos/etcd:v3.5.21", "debian bookworm"]);
  });

  it("passes over an address of which a test wants more than it can give", async () => {
    const { surroundings } = machine({ ...everything, env: { CONSUL_HTTP_ADDR: "127.0.0.1:8500" } });
    expect(await locateServer(consulKind(), ["to kill it"], surroundings)).toEqual({
      via: "binary",
      binary: "/usr/bin/consul",
    });
  });

  it("lists everything it tried, and how to help, in one error", async () => {
    const { surroundings } = machine({ env: { CONSUL_HTTP_ADDR: "127.0.0.1:8500", SKIP_SERVERS: "" } });
    await expect(locateServer(consulKind(), ["to kill it", "port 1234"], surroundings)).rejects.toThrow(
      [
        "found no Consul for the tests, and could not start one. Tried, in this order:",
        "  environment: CONSUL_HTTP_ADDR names http://127.0.0.1:8500, but this test wants to kill it and port 1234",
        '  binary: CONSUL_BIN is not set, and no executable "consul" is on PATH',
        "  docker: there is no Docker engine",
        "  debian: there is no apt-get here",
        "Any of these helps:",
        "  - CONSUL_HTTP_ADDR=http://host:port names a running Consul",
        "  - CONSUL_BIN=/path/to/consul, or consul on PATH",
        "  - Docker, testcontainers, and the image (CONSUL_IMAGE chooses another one); TEST_PULL=1 lets it be pulled",
        "  - apt-get and dpkg-deb, with a Debian archive that has consul in bullseye",
        "Or leave these tests out with SKIP_SERVERS=consul.",
      ].join("\n"),
    );
  });

  it("says so when the environment was never asked, and indents reasons of several lines", async () => {
    const { surroundings } = machine({ unpackDebian: () => Promise.reject(new Error("one\ntwo")) });
    const error = await locateServer(etcdKind(), [], surroundings).catch(String);
    expect(error).toContain("  environment: ETCD_ENDPOINTS is not set\n");
    expect(error).toContain("  debian: one\n    two\n");
  });

  it.each([
    [{ CONSUL_HTTP_ADDR: "unix:///run/consul.sock" }, "CONSUL_HTTP_ADDR cannot be used: it is"],
    [{ CONSUL_HTTP_ADDR: "two words" }, "CONSUL_HTTP_ADDR cannot be used: it is"],
  ])("does not look elsewhere when %j was said explicitly", async (env, message) => {
    const { surroundings, asked } = machine({ ...everything, env });
    await expect(locateServer(consulKind(), [], surroundings)).rejects.toThrow(message);
    expect(asked).toEqual([]);
  });

  it("does not look elsewhere when CONSUL_BIN names nothing that runs", async () => {
    const { surroundings } = machine({
      ...everything,
      env: { CONSUL_BIN: "/nowhere" },
      findExecutable: () => Promise.resolve(undefined),
    });
    await expect(locateServer(consulKind(), [], surroundings)).rejects.toThrow(
      'CONSUL_BIN is "/nowhere", which is no executable file',
    );
  });

  it("takes variables that are empty for variables that are not set", async () => {
    const env = { CONSUL_HTTP_ADDR: " ", CONSUL_BIN: "", CONSUL_IMAGE: "" };
    const { surroundings, asked } = machine({ whyNoDocker: () => Promise.resolve(undefined), env });
    expect(await locateServer(consulKind(), [], surroundings)).toEqual({
      via: "docker",
      image: "hashicorp/consul:1.21",
    });
    expect(asked).toEqual(["executable consul", "docker hashicorp/consul:1.21"]);
  });

  it("passes over the ways that a kind of server does not have, and does not advise them", async () => {
    const kind = knotKind(() => Promise.resolve(""), "rollcall.test");
    const { surroundings, asked } = machine();
    const error = await locateServer(kind, [], surroundings).catch((reason: unknown) => reason);
    expect(String(error)).toMatch(
      /environment: one that runs already is of no use\n {2}binary: .*\n {2}docker: no image/,
    );
    expect(String(error)).not.toMatch(/testcontainers|http:/);
    expect(asked).toEqual(["executable knotd", "debian bookworm"]);
    const found = machine({ unpackDebian: () => Promise.resolve("/cache/knotd") });
    expect(await locateServer(kind, [], found.surroundings)).toEqual({ via: "debian", binary: "/cache/knotd" });
  });
});
