import { access } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { messageOf } from "@rollcall/core";
import type * as Testcontainers from "testcontainers";
import { socketHasImage } from "./docker-socket.ts";

/** What testcontainers starts first, to clean up after us. */
const DEFAULT_REAPER = "testcontainers/ryuk:0.14.0";

/**
 * Why a container of this image cannot be started here, in words; undefined if it can.
 *
 * Testcontainers is an optional peer, and loading it costs most of a second and replaces the HTTP dispatcher of the
 * whole process (it brings its own undici), which tests would notice. So it is loaded only when it will probably be
 * used: a plain look at the engine's socket (one of `sockets`) settles the two common cases, no engine and no image.
 */
export async function whyNoDocker(
  image: string,
  mayPull: boolean,
  env: NodeJS.ProcessEnv,
  sockets: readonly string[] = usualSockets(env),
): Promise<string | undefined> {
  const images =
    env["TESTCONTAINERS_RYUK_DISABLED"] === "true" ? [image] : [image, env["RYUK_CONTAINER_IMAGE"] || DEFAULT_REAPER];
  try {
    if (!(await isConfigured(env))) {
      const present = await existing(sockets);
      const [first] = present;
      if (first === undefined) return "there is no Docker engine: no DOCKER_HOST, and no socket in the usual places";
      // With several engines it is testcontainers that chooses.
      if (present.length === 1 && !mayPull) {
        const reason = await whyAbsent(images, (name) => socketHasImage(first, name));
        if (reason !== undefined) return reason;
      }
    }
    const { getContainerRuntimeClient, ImageName } = await loadTestcontainers();
    const client = await getContainerRuntimeClient();
    return mayPull ? undefined : await whyAbsent(images, (name) => client.image.exists(ImageName.fromString(name)));
  } catch (error) {
    return messageOf(error);
  }
}

/** Loads the optional peer; rejects with a message that names it. */
export async function loadTestcontainers(): Promise<typeof Testcontainers> {
  try {
    return await import("testcontainers");
  } catch (error) {
    throw new Error(`the package testcontainers cannot be loaded: ${messageOf(error)}`, { cause: error });
  }
}

async function whyAbsent(
  images: readonly string[],
  has: (image: string) => Promise<boolean>,
): Promise<string | undefined> {
  const absent: string[] = [];
  for (const image of images) {
    if (!(await has(image))) absent.push(image);
  }
  if (absent.length === 0) return undefined;
  const withoutReaper = absent.includes(images[1] ?? "")
    ? " (TESTCONTAINERS_RYUK_DISABLED=true does without ryuk)"
    : "";
  return `not at hand: ${absent.join(", ")}; TEST_PULL=1 lets images be pulled${withoutReaper}`;
}

/** Whether somebody said where the engine is, in a way that only testcontainers understands in full. */
async function isConfigured(env: NodeJS.ProcessEnv): Promise<boolean> {
  if (process.platform === "win32" || env["DOCKER_HOST"] || env["TESTCONTAINERS_HOST_OVERRIDE"]) return true;
  return (await existing([join(homedir(), ".testcontainers.properties")])).length > 0;
}

/** Where Docker, rootless Docker, Docker Desktop and Podman listen. */
function usualSockets(env: NodeJS.ProcessEnv): string[] {
  const runtime = env["XDG_RUNTIME_DIR"];
  return [
    "/var/run/docker.sock",
    ...(runtime ? [join(runtime, "docker.sock"), join(runtime, "podman/podman.sock")] : []),
    ...[".docker/run/docker.sock", ".docker/desktop/docker.sock"].map((path) => join(homedir(), path)),
  ];
}

async function existing(paths: readonly string[]): Promise<string[]> {
  const present: string[] = [];
  for (const path of paths) {
    try {
      await access(path);
      present.push(path);
    } catch {
      // Not there.
    }
  }
  return present;
}
