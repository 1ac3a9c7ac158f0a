import { mkdir, rename, writeFile } from "node:fs/promises";
import { Resolver } from "node:dns/promises";
import { dirname, join } from "node:path";
import { type Closable, closable, is } from "@rollcall/core";
import type { ServerKind, ServerPlan } from "./server-kind.ts";
import { startServer } from "./start-server.ts";
import type { TestServer, TestServerOptions } from "./test-server.ts";
import { untilReady } from "./until-ready.ts";

export interface NameServerOptions extends Pick<TestServerOptions, "port" | "startTimeoutMs"> {
  /** The zone that it is the authority of. Default `rollcall.test`. */
  readonly zone?: string | undefined;
  /** What is in it at the beginning, as for `publish`. Default: nothing. */
  readonly records?: readonly string[] | undefined;
}

/** An authoritative name server with one zone, which the test writes. */
export interface NameServer extends Closable {
  /** Its process, to be killed, frozen and started again. Once wiped, it answers SERVFAIL. */
  readonly server: TestServer;
  /** `127.0.0.1:15353`, by UDP and TCP. */
  readonly address: string;
  readonly zone: string;
  /**
   * Puts these records in the place of all others: lines of a zone file, whose names are relative to the zone and whose
   * TTL is 1 s (`lorem SRV 0 1 8080 a`, `a 60 A 10.0.0.1`). Resolves when it answers with them, or at once if it does not
   * run; rejects, with its log, if it does not take them.
   */
  publish(records: readonly string[]): Promise<void>;
}

/** Enough for a reload on a busy machine. */
const RELOAD_MS = 5_000;

/**
 * Starts a name server (Knot DNS), and resolves when it answers for its zone. The ways are those of `startConsul`, but
 * for an address, whose zone could not be written, and Docker: `KNOT_BIN` or `knotd` on `PATH`, and Debian's package
 * `knot`. `SKIP_SERVERS=knot` leaves its tests out.
 *
 * @throws InvalidOptionError for unknown or impossible options.
 *
 * ```ts
 * import { startNameServer } from "@rollcall/testing/servers";
 * await using names = await startNameServer({ records: ["lorem SRV 0 1 8080 a", "a A 10.0.0.1"] });
 * await names.publish([]);
 * ```
 */
export async function startNameServer(options: NameServerOptions = {}): Promise<NameServer> {
  const { zone = "rollcall.test", records = [], ...rest } = options;
  let serial = 0;
  let zoneFile = "";
  let written: readonly string[] = records;

  const write = async (): Promise<void> => {
    const soa = `@ SOA ns hostmaster ${++serial} 3600 600 86400 1`;
    const lines = [`$ORIGIN ${zone}.`, "$TTL 1", soa, "@ NS ns", "ns A 127.0.0.1", ...written, ""];
    await mkdir(dirname(zoneFile), { recursive: true });
    // Renamed into place: it may be reading just now.
    await writeFile(`${zoneFile}.new`, lines.join("\n"));
    await rename(`${zoneFile}.new`, zoneFile);
  };
  const kind = knotKind(async (plan) => {
    zoneFile = join(plan.dataDir, "zone");
    await write();
    return configuration(plan, zone);
  }, zone);
  const server = await startServer(kind, rest, { zone: is.host, records: is.strings });
  const resolver = resolverOf(server.url);

  const serves = async (wanted: number): Promise<void> => {
    const soa = await resolver.resolveSoa(zone);
    if (soa.serial !== wanted) throw new Error(`it still serves the zone with serial ${soa.serial}`);
  };

  return {
    server,
    address: `${server.host}:${server.port}`,
    zone,
    async publish(lines) {
      written = lines;
      await write();
      if (server.pid === undefined) return;
      process.kill(server.pid, "SIGHUP");
      const wanted = serial;
      await untilReady("loading the zone", () => serves(wanted), RELOAD_MS, new AbortController().signal).catch(
        (error: unknown) => {
          throw new Error(`the name server did not take the zone. Its log:\n${server.log()}`, { cause: error });
        },
      );
    },
    ...closable(() => server.close()),
  };
}

/** Its libraries are where it was unpacked, and not where the system would look for them. */
const LAUNCHER = `#!/bin/sh
root=$(cd "$(dirname "$0")/../.." && pwd)
export LD_LIBRARY_PATH="$(echo "$root"/usr/lib/*-linux-gnu):$(echo "$root"/lib/*-linux-gnu)"
exec "$root/usr/sbin/knotd" "$@"
`;

/** Knot DNS, as the finder sees it. `configure` makes its configuration, once. */
export function knotKind(configure: (plan: ServerPlan) => Promise<string>, zone: string): ServerKind {
  return {
    name: "knot",
    title: "Knot DNS",
    scheme: "dns",
    binary: { variable: "KNOT_BIN", name: "knotd" },
    debian: {
      suite: "bookworm",
      // With the libraries that a small system does not have.
      packages: [
        "knot",
        "libdnssec9",
        "libknot13",
        "libzscanner4",
        "liburcu8",
        "liblmdb0",
        "libcap-ng0",
        "libxdp1",
        "libbpf1",
        "libelf1",
        "libgnutls30",
        "libp11-kit0",
        "libidn2-0",
        "libunistring2",
        "libtasn1-6",
        "libnettle8",
        "libhogweed6",
        "libgmp10",
        "libffi8",
      ],
      binary: "usr/bin/knot-server",
      launcher: LAUNCHER,
    },
    ports: ["dns"],
    async command(plan) {
      // Beside its data, so that wiping them leaves a server that has lost its zone.
      const file = join(dirname(plan.dataDir), "knot.conf");
      await writeFile(file, await configure(plan));
      return ["-c", file];
    },
    probe: (url, signal) => probe(url, zone, signal),
  };
}

function configuration({ ports, clientHost, dataDir }: ServerPlan, zone: string): string {
  return `
server:
  rundir: "${dataDir}"
  listen: "${clientHost}@${ports["dns"]}"
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
log:
  - target: stdout
    any: info
database:
  storage: "${dataDir}"
zone:
  - domain: "${zone}."
    storage: "${dataDir}"
    file: "zone"
    journal-content: none
    zonefile-sync: -1
`;
}

/** That it cannot answer for the zone is an answer too: it may have lost it. */
async function probe(url: string, zone: string, signal: AbortSignal): Promise<void> {
  const resolver = resolverOf(url);
  const cancel = (): void => resolver.cancel();
  signal.addEventListener("abort", cancel);
  try {
    await resolver.resolveSoa(zone);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESERVFAIL")) throw error;
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

function resolverOf(url: string): Resolver {
  const resolver = new Resolver({ timeout: 500, tries: 1 });
  resolver.setServers([new URL(url).host]);
  return resolver;
}
