import { writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { InvalidOptionError } from "@rollcall/core";
import { findExecutable, isExecutable } from "./find-executable.ts";
import type { ServerKind, ServerPlan } from "./server-kind.ts";
import { startServer } from "./start-server.ts";
import type { TestServer, TestServerOptions } from "./test-server.ts";

/** It takes no arguments: all is in a file, which is ours. */
export type ZookeeperOptions = Omit<TestServerOptions, "args">;

/**
 * Finds a ZooKeeper, or starts one, and resolves when it serves requests. The ways are those of `startConsul`, by
 * `ZOOKEEPER_HOSTS` (the first of several), `ZOOKEEPER_BIN` or `zkServer.sh` on `PATH`, `ZOOKEEPER_IMAGE` (default
 * `zookeeper:3.8`), and Debian's package `libzookeeper-java`, with a Java runtime from there too if there is none. Its
 * data survive a restart. It agrees to session time-outs from 1 to 60 s.
 *
 * @throws InvalidOptionError for unknown or impossible options.
 *
 * ```ts
 * import { startZookeeper } from "@rollcall/testing/servers";
 * await using zookeeper = await startZookeeper({ faults: ["kill", "freeze"] });
 * await zookeeper.freeze();
 * ```
 */
export async function startZookeeper(options: ZookeeperOptions = {}): Promise<TestServer> {
  const home = process.env["JAVA_HOME"];
  const hasJava =
    (home !== undefined && (await isExecutable(`${home}/bin/java`))) ||
    (await findExecutable("java", process.env["PATH"] ?? "")) !== undefined;
  return startServer(zookeeperKind(hasJava), options, {
    args: (value, path) => {
      throw new InvalidOptionError(path, "nothing: ZooKeeper has no arguments", value);
    },
  });
}

/** Those of the library's dependencies that a single server without its web page needs. */
const PACKAGES = ["libzookeeper-java", "libslf4j-java", "libdropwizard-metrics-java", "libsnappy-java"];
const JARS = ["zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "metrics-core", "snappy-java"];

/** Takes what `zkServer.sh` takes. That of Debian's own package looks for the library where root would have put it. */
const LAUNCHER = `#!/bin/sh
root=$(cd "$(dirname "$0")/../.." && pwd)
for java in "$JAVA_HOME/bin/java" "$(command -v java)" "$root"/usr/lib/jvm/*/bin/java; do
  [ -x "$java" ] && break
done
exec "$java" -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \\
  -cp "${JARS.map((jar) => `$root/usr/share/java/${jar}.jar`).join(":")}" \\
  org.apache.zookeeper.server.ZooKeeperServerMain "$2"
`;

/** ZooKeeper, as the finder sees it. */
export function zookeeperKind(hasJava: boolean): ServerKind {
  return {
    name: "zookeeper",
    title: "ZooKeeper",
    scheme: "zookeeper",
    address: { variable: "ZOOKEEPER_HOSTS", parse: (value) => address(value.split(/[,/]/, 1)[0] ?? "") },
    binary: { variable: "ZOOKEEPER_BIN", name: "zkServer.sh" },
    image: { variable: "ZOOKEEPER_IMAGE", fallback: "zookeeper:3.8", entrypoint: "sh", ports: { client: 2181 } },
    debian: {
      suite: "bookworm",
      packages: hasJava ? PACKAGES : [...PACKAGES, "openjdk-17-jre-headless"],
      binary: "usr/bin/zookeeper-server",
      launcher: LAUNCHER,
    },
    ports: ["client"],
    command,
    probe,
  };
}

function address(value: string): string {
  const url = URL.parse(`zookeeper://${value}`);
  if (url === null || url.hostname === "") throw new Error(`it is "${value}", which is not host:port`);
  return `zookeeper://${url.hostname}:${url.port || 2181}`;
}

async function command({ binary, ports, clientHost, dataDir }: ServerPlan): Promise<string[]> {
  const settings = [
    `clientPort=${ports["client"]}`,
    `clientPortAddress=${clientHost}`,
    `dataDir=${dataDir}`,
    // Sessions end on a beat of this clock.
    "tickTime=500",
    "minSessionTimeout=1000",
    "maxSessionTimeout=60000",
    "maxClientCnxns=0",
    "admin.enableServer=false",
    // A killed process loses nothing that it gave to the system.
    "forceSync=no",
    "",
  ].join("\n");
  const file = `${dataDir}.cfg`;
  if (binary === undefined) {
    // Images have it on PATH, or where Debian's package puts it.
    const script = `printf '${settings}' >${file}; PATH=$PATH:/usr/share/zookeeper/bin exec zkServer.sh start-foreground ${file}`;
    return ["-c", script];
  }
  await writeFile(file, settings);
  return ["start-foreground", file];
}

/** Asks with one of the words that every ZooKeeper allows without a session. One that does not serve says so. */
async function probe(url: string, signal: AbortSignal): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname.replace(/^\[(.*)\]$/, "$1"), port: Number(port), signal });
  socket.write("srvr");
  const answer = await text(socket);
  if (!answer.includes("Mode: ")) throw new Error(`it answered ${JSON.stringify(answer.slice(0, 200))}`);
}
