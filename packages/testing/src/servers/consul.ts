import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { is } from "@rollcall/core";
import { httpAddress } from "./http-address.ts";
import { probeRequest } from "./probe-request.ts";
import type { ServerKind, ServerPlan } from "./server-kind.ts";
import { startServer } from "./start-server.ts";
import type { TestServer, TestServerOptions } from "./test-server.ts";

export interface ConsulOptions extends TestServerOptions {
  /** The ACL token that the readiness probe uses, if `args` switch access control on. Default: `CONSUL_HTTP_TOKEN`. */
  readonly token?: string | undefined;
  /** Where its DNS listens, by UDP and TCP. Default: nowhere. An address from the environment and Docker are passed over. */
  readonly dnsPort?: number | undefined;
}

/** What the readiness probe registers for a moment. */
const PROBE = `rollcall-probe-${process.pid}`;

/**
 * Finds a Consul, or starts one, and resolves when it does its work: a registration is accepted and a health query shows
 * it. Ways, in this order: the address in `CONSUL_HTTP_ADDR`; the binary in `CONSUL_BIN` or `consul` on `PATH`; Docker,
 * if the image (`CONSUL_IMAGE`, default `hashicorp/consul:1.21`) is at hand or `TEST_PULL=1` allows to pull it; Debian's
 * package, unpacked under `.cache/servers` of the checkout. If none works, one error lists what was tried and why not.
 *
 * What it starts is a single server (`-bootstrap-expect=1`) that keeps its data over a restart; that takes 1.2 to 2.5 s,
 * nearly all of it the shortest election time-out that Consul allows. With `keepData: false` it is a `-dev` agent, ready
 * in half a second, that forgets everything when it ends. Ends with `close()`, or with this process.
 *
 * @throws InvalidOptionError for unknown or impossible options.
 *
 * ```ts
 * import { startConsul } from "@rollcall/testing/servers";
 * await using consul = await startConsul({ faults: ["kill", "wipe"] });
 * await fetch(`${consul.url}/v1/status/leader`);
 * await consul.restart({ wipe: true });
 * ```
 */
export function startConsul(options: ConsulOptions = {}): Promise<TestServer> {
  const { token = process.env["CONSUL_HTTP_TOKEN"], dnsPort, args = [] } = options;
  const checks = { token: is.nonEmptyString, dnsPort: is.port };
  if (dnsPort === undefined) return startServer(consulKind(token), options, checks);
  // Of a container only one port can be reached.
  const kind = { ...consulKind(token), image: undefined };
  return startServer(kind, { ...options, args: [`-dns-port=${dnsPort}`, ...args] }, checks);
}

/** Consul, as the finder sees it. */
export function consulKind(token?: string): ServerKind {
  return {
    name: "consul",
    title: "Consul",
    address: {
      variable: "CONSUL_HTTP_ADDR",
      parse: (value, env) => httpAddress(value, env["CONSUL_HTTP_SSL"] === "true" ? "https" : "http"),
    },
    binary: { variable: "CONSUL_BIN", name: "consul" },
    image: {
      variable: "CONSUL_IMAGE",
      fallback: "hashicorp/consul:1.21",
      ports: { http: 8500, server: 8300, serfLan: 8301 },
    },
    debian: { suite: "bullseye", packages: ["consul"], binary: "usr/bin/consul" },
    ports: ["http", "server", "serfLan"],
    command,
    probe: (url, signal) => probe(url, token, signal),
  };
}

async function command(plan: ServerPlan): Promise<string[]> {
  const { ports, clientHost, peerHost } = plan;
  const settings = [
    // The least that is allowed: elections within 1 to 2 s.
    "performance { raft_multiplier = 1 }",
    "disable_update_check = true",
    // A killed or stopped test server has not left; it comes back.
    "leave_on_terminate = false",
  ];
  return [
    "agent",
    ...(plan.keepData ? ["-server", "-bootstrap-expect=1", `-data-dir=${plan.dataDir}`] : ["-dev"]),
    "-node=rollcall-test",
    `-bind=${peerHost}`,
    `-client=${clientHost}`,
    `-http-port=${ports["http"]}`,
    `-server-port=${ports["server"]}`,
    `-serf-lan-port=${ports["serfLan"]}`,
    "-serf-wan-port=-1",
    "-dns-port=-1",
    "-grpc-port=-1",
    ...((await hasGrpcTls(plan.binary)) ? ["-grpc-tls-port=-1"] : []),
    "-log-level=info",
    `-hcl=${settings.join("\n")}`,
  ];
}

/** Since 1.14 a server listens on one more port by default, and only since then there is a flag against it. */
async function hasGrpcTls(binary: string | undefined): Promise<boolean> {
  // In a container nobody competes for the port.
  if (binary === undefined) return false;
  const { stdout } = await promisify(execFile)(binary, ["version"], { timeout: 10_000 });
  const [, major = 0, minor = 0] = (/v(\d+)\.(\d+)\./.exec(stdout) ?? []).map(Number);
  return major > 1 || minor >= 14;
}

/** The whole path that a registry takes: a leader, a registration, its way into the catalogue, and out again. */
async function probe(url: string, token: string | undefined, signal: AbortSignal): Promise<void> {
  const headers = token === undefined ? {} : { "X-Consul-Token": token };
  const call = (path: string, method?: string, body?: unknown): Promise<unknown> =>
    probeRequest(`${url}/v1${path}`, { method, body, headers, signal });
  const visible = async (): Promise<boolean> => {
    const entries = await call(`/health/service/${PROBE}?passing`);
    return Array.isArray(entries) && entries.length > 0;
  };

  if (!(await call("/status/leader"))) throw new Error("there is no leader yet");
  await call("/agent/service/register", "PUT", { ID: PROBE, Name: PROBE });
  const seen = await visible();
  await call(`/agent/service/deregister/${PROBE}`, "PUT");
  if (!seen) throw new Error("a registered service is not visible yet");
  while (await visible()) await sleep(5, undefined, { signal });
}
