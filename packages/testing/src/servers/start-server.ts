import { checkOptions, is } from "@rollcall/core";
import { freePort } from "../free-port.ts";
import { dockerMachine } from "./docker-machine.ts";
import { environmentServer } from "./environment-server.ts";
import { type Location, locateServer } from "./locate-server.ts";
import { processMachine } from "./process-machine.ts";
import { runServer } from "./run-server.ts";
import type { ServerKind } from "./server-kind.ts";
import { serverSkipped } from "./server-skipped.ts";
import { systemSurroundings } from "./surroundings.ts";
import type { TestServer, TestServerOptions } from "./test-server.ts";

type Checks = Parameters<typeof checkOptions>[2];

const faults: Checks[string] = (value, path) => {
  is.strings(value, path);
  for (const fault of value as string[]) is.oneOf("kill", "freeze", "wipe")(fault, path);
};

const OPTION_CHECKS: Checks = {
  faults,
  args: is.strings,
  port: is.port,
  keepData: is.boolean,
  startTimeoutMs: is.durationMs,
};

/** How often a server is started anew because somebody else was faster to take one of its ports. */
const PORT_ATTEMPTS = 3;

/** Finds or starts a server of one kind. `moreChecks` is for options that only this kind has. */
export async function startServer(
  kind: ServerKind,
  options: TestServerOptions,
  moreChecks: Checks = {},
): Promise<TestServer> {
  checkOptions("", options, { ...OPTION_CHECKS, ...moreChecks });
  if (serverSkipped(kind.name)) {
    throw new Error(`SKIP_SERVERS leaves out ${kind.name}: ask serverSkipped("${kind.name}") before starting one`);
  }
  const location = await locateServer(kind, demands(options), systemSurroundings());
  const timeoutMs = options.startTimeoutMs ?? 30_000;
  if (location.via === "environment") return environmentServer(kind, location.url, timeoutMs);
  for (let attempt = 1; ; attempt++) {
    try {
      return await launch(kind, location, options, timeoutMs);
    } catch (error) {
      const taken = error instanceof Error && /address already in use|port is already allocated/i.test(error.message);
      if (!taken || options.port !== undefined || attempt >= PORT_ATTEMPTS) throw error;
    }
  }
}

function demands({ faults = [], args = [], port, keepData }: TestServerOptions): string[] {
  return [
    ...(faults.length > 0 ? [`to ${faults.join(", ")} it`] : []),
    ...(args.length > 0 ? ["arguments of its own"] : []),
    ...(port === undefined ? [] : [`port ${port}`]),
    ...(keepData === false ? ["a server without data"] : []),
  ];
}

async function launch(
  kind: ServerKind,
  location: Exclude<Location, { via: "environment" }>,
  options: TestServerOptions,
  startTimeoutMs: number,
): Promise<TestServer> {
  const { args = [], keepData = true } = options;
  const [first, ...others] = kind.ports;
  const port = options.port ?? (await freePort());
  const common = { kind, keepData, args };
  const run = {
    name: kind.name,
    scheme: kind.scheme,
    via: location.via,
    port,
    startTimeoutMs,
    probe: kind.probe.bind(kind),
  };
  if (location.via === "docker") {
    const { machine, host } = await dockerMachine({ ...common, image: location.image, hostPort: port });
    return runServer({ ...run, host, machine });
  }
  const ports: Record<string, number> = { [first]: port };
  for (const name of others) ports[name] = await freePort();
  const machine = await processMachine({ ...common, binary: location.binary, ports });
  return runServer({ ...run, host: "127.0.0.1", machine });
}
