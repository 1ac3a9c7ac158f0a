import { unpackDebian } from "./debian-packages.ts";
import { whyNoDocker } from "./docker-runtime.ts";
import { findExecutable } from "./find-executable.ts";
import type { Surroundings } from "./locate-server.ts";

/** The machine this runs on, as it is. */
export function systemSurroundings(env: NodeJS.ProcessEnv = process.env): Surroundings {
  return {
    env,
    findExecutable: (nameOrPath) => findExecutable(nameOrPath, env["PATH"] ?? ""),
    whyNoDocker: (image, mayPull) => whyNoDocker(image, mayPull, env),
    unpackDebian: (debian) => unpackDebian(debian),
  };
}
