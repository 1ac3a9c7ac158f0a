import { messageOf } from "@rollcall/core";
import type { ServerKind } from "./server-kind.ts";
import type { Way } from "./test-server.ts";

/** A way that works. */
export type Location =
  | { readonly via: "environment"; readonly url: string }
  | { readonly via: "binary" | "debian"; readonly binary: string }
  | { readonly via: "docker"; readonly image: string };

/** What the decision asks of the machine it runs on; tests put their own answers here. */
export interface Surroundings {
  readonly env: NodeJS.ProcessEnv;
  /** The absolute path of an executable: of a name on `PATH`, or of a path. Undefined if there is none. */
  findExecutable(nameOrPath: string): Promise<string | undefined>;
  /** Why a container of this image cannot be started; undefined if it can. */
  whyNoDocker(image: string, mayPull: boolean): Promise<string | undefined>;
  /** The binary from Debian's packages, unpacked if necessary. Rejects with the reason why that is impossible. */
  unpackDebian(debian: ServerKind["debian"]): Promise<string>;
}

/** What the test wants to do that not every way can offer; in words, for the message. */
export type Demands = readonly string[];

/**
 * Decides how to get a server: environment → binary → Docker → Debian's packages. Whatever somebody said explicitly
 * (an address, `*_BIN`) and cannot be is an error at once; what is merely absent leads to the next way. If none is left,
 * it rejects with one error that lists all ways, why each was impossible, and how to help.
 */
export async function locateServer(kind: ServerKind, demands: Demands, surroundings: Surroundings): Promise<Location> {
  const { env } = surroundings;
  const tried: (readonly [Way, string])[] = [];

  const { address, image } = kind;
  const given = address && env[address.variable]?.trim();
  if (address === undefined) tried.push(["environment", `one that runs already is of no use`]);
  else if (!given) tried.push(["environment", `${address.variable} is not set`]);
  else {
    const url = explicit(address.variable, () => address.parse(given, env));
    if (demands.length === 0) return { via: "environment", url };
    tried.push(["environment", `${address.variable} names ${url}, but this test wants ${demands.join(" and ")}`]);
  }

  const path = env[kind.binary.variable]?.trim();
  const binary = await surroundings.findExecutable(path || kind.binary.name);
  if (binary !== undefined) return { via: "binary", binary };
  if (path) throw new Error(`${kind.binary.variable} is "${path}", which is no executable file`);
  tried.push(["binary", `${kind.binary.variable} is not set, and no executable "${kind.binary.name}" is on PATH`]);

  if (image === undefined) tried.push(["docker", "no image is known"]);
  else {
    const name = env[image.variable]?.trim() || image.fallback;
    const noDocker = await surroundings.whyNoDocker(name, env["TEST_PULL"] === "1");
    if (noDocker === undefined) return { via: "docker", image: name };
    tried.push(["docker", noDocker]);
  }

  try {
    return { via: "debian", binary: await surroundings.unpackDebian(kind.debian) };
  } catch (error) {
    tried.push(["debian", messageOf(error)]);
  }
  throw new Error(notFound(kind, tried));
}

function explicit<T>(variable: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new Error(`${variable} cannot be used: ${messageOf(error)}`, { cause: error });
  }
}

function notFound(kind: ServerKind, tried: readonly (readonly [Way, string])[]): string {
  const { address, image } = kind;
  return [
    `found no ${kind.title} for the tests, and could not start one. Tried, in this order:`,
    ...tried.map(([way, reason]) => `  ${way}: ${reason.replaceAll("\n", "\n    ")}`),
    "Any of these helps:",
    ...(address === undefined
      ? []
      : [`  - ${address.variable}=${kind.scheme ?? "http"}://host:port names a running ${kind.title}`]),
    `  - ${kind.binary.variable}=/path/to/${kind.binary.name}, or ${kind.binary.name} on PATH`,
    ...(image === undefined
      ? []
      : [
          `  - Docker, testcontainers, and the image (${image.variable} chooses another one); TEST_PULL=1 lets it be pulled`,
        ]),
    `  - apt-get and dpkg-deb, with a Debian archive that has ${kind.debian.packages.join(", ")} in ${kind.debian.suite}`,
    `Or leave these tests out with SKIP_SERVERS=${kind.name}.`,
  ].join("\n");
}
