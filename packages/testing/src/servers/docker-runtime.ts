import { access } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { messageOf } from "@rollcall/core";
import type * as Testcontainers from "testcontainers";

/**
 * Why a container of this image cannot be started here, in words; undefined if it can.
 *
 * Testcontainers is an optional peer, and loading it costs most of a second and replaces the process's HTTP dispatcher
 * (it brings its own undici). So it is loaded only when there is a sign of a Docker engine at all.
 */
export async function whyNoDocker(
  image: string,
  mayPull: boolean,
  env: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  if (!(await maybeDocker(env))) return "there is no Docker engine: no DOCKER_HOST, and no socket in the usual places";
  try {
    const { getContainerRuntimeClient, ImageName } = await loadTestcontainers();
    const { image: images } = await getContainerRuntimeClient();
    const absent: string[] = [];
    const reaper = env["RYUK_CONTAINER_IMAGE"] || DEFAULT_REAPER;
    const reaperDisabled = env["TESTCONTAINERS_RYUK_DISABLED"] === "true";
    for (const name of reaperDisabled ? [image] : [image, reaper]) {
      if (!mayPull && !(await images.exists(ImageName.fromString(name)))) absent.push(name);
    }
    if (absent.length === 0) return undefined;
    const way = absent.includes(reaper) ? " (TESTCONTAINERS_RYUK_DISABLED=true does without ryuk)" : "";
    return `not at hand: ${absent.join(", ")}; TEST_PULL=1 lets images be pulled${way}`;
  } catch (error) {
    return messageOf(error);
  }
}

/** What testcontainers starts first, to clean up after us. */
const DEFAULT_REAPER = "testcontainers/ryuk:0.14.0";

export async function loadTestcontainers(): Promise<typeof Testcontainers> {
  try {
    return await import("testcontainers");
  } catch (error) {
    throw new Error(`the package testcontainers cannot be loaded: ${messageOf(error)}`, { cause: error });
  }
}

/** Whether anything looks like a Docker engine, or like somebody who configured one for testcontainers. */
async function maybeDocker(env: NodeJS.ProcessEnv): Promise<boolean> {
  if (process.platform === "win32" || env["DOCKER_HOST"] || env["TESTCONTAINERS_HOST_OVERRIDE"]) return true;
  const runtime = env["XDG_RUNTIME_DIR"];
  const signs = [
    "/var/run/docker.sock",
    ...(runtime ? [join(runtime, "docker.sock"), join(runtime, "podman/podman.sock")] : []),
    ...[".docker/run/docker.sock", ".docker/desktop/docker.sock", ".testcontainers.properties"].map((path) =>
      join(homedir(), path),
    ),
  ];
  const found = await Promise.all(
    signs.map((path) =>
      access(path).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.includes(true);
}
