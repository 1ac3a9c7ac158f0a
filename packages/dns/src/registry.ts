import dns from "node:dns";
import {
  type Check,
  checkOptions,
  checkThat,
  createRegistry,
  type Env,
  InvalidOptionError,
  is,
  listOf,
  type NormalizedQuery,
  type Registry,
  resolveEnv,
} from "@rollcall/core";
import type { Priorities } from "./client.ts";
import { exchangeBy, type NameServer } from "./exchange.ts";
import { resolver } from "./resolver.ts";
import { dnsSink } from "./sink.ts";
import { dnsSource } from "./source.ts";

/** The full name of a service: a text with `{service}` in it, or a function, which gets the tags too. */
export type DnsName = string | ((query: { readonly service: string; readonly tags: readonly string[] }) => string);

/** Whom to ask for what. Everything has a default. */
export interface DnsRegistryOptions {
  /** Name servers: `10.0.0.2`, `127.0.0.1:8600`, `[::1]:53`, `consul:8600`. Default: those of `node:dns`. */
  readonly servers?: readonly string[] | undefined;
  /** `{service}.service.consul`, `_http._tcp.{service}.default.svc.cluster.local`, … Default `{service}`. */
  readonly name?: DnsName | undefined;
  /** Ask for addresses instead of SRV records; all instances have this port. */
  readonly port?: number | undefined;
  /** Which addresses, if there is a port. Default 4. */
  readonly family?: 4 | 6 | undefined;
  /**
   * `first`: only the instances of the first priority that has any. `all`: all of them, for the policy `priority(…)`.
   * Default `first`.
   */
  readonly priorities?: Priorities | undefined;
  /** `udp`: by TCP only if the answer is too long. `tcp`: always, for servers that shorten answers in silence. */
  readonly transport?: "udp" | "tcp" | undefined;
  /** A name is asked for at most so often, also if its TTL is shorter, or nobody answers. Default 1 s. */
  readonly intervalMs?: number | undefined;
  /** How long a server may take for its answer, before the next one is asked. Default 1 s. */
  readonly timeoutMs?: number | undefined;
  /** How long "there are none" is not believed when there were some. Default 30 s, 0 for not at all. */
  readonly emptyGraceMs?: number | undefined;
  readonly env?: Partial<Env> | undefined;
}

const CHECKS: Readonly<Record<keyof DnsRegistryOptions, Check>> = {
  servers: listOf("name server", parseServer),
  name: checkThat(
    "a name with {service} in it, or a function",
    (value) => typeof value === "function" || (typeof value === "string" && value.includes("{service}")),
  ),
  port: is.port,
  family: is.oneOf(4, 6),
  priorities: is.oneOf("first", "all"),
  transport: is.oneOf("udp", "tcp"),
  intervalMs: is.number(10, 24 * 3_600_000),
  timeoutMs: is.number(1, 600_000),
  emptyGraceMs: is.durationMs,
  env: is.env,
};

/**
 * Makes a {@link Registry} that reads DNS: SRV records, or addresses with a port of your own. It asks for nothing before
 * something is watched. It announces nothing: `registrar()` throws. The caller closes it, which leaves no socket behind.
 *
 * @throws InvalidOptionError for an option that cannot work, or that there is none of.
 */
export function dnsRegistry(options: DnsRegistryOptions = {}): Registry {
  checkOptions("", options, CHECKS);
  const { port, family, priorities = "first", transport = "udp", name = "{service}" } = options;
  if (family !== undefined && port === undefined) throw new InvalidOptionError("family", "a port beside it", family);
  const type = port === undefined ? "SRV" : family === 6 ? "AAAA" : "A";
  const given = options.servers?.map((server) => parseServer(server, "servers"));
  const ask = resolver({
    // Not imported by its name, which would stay what it was before a setServers().
    servers: () => given ?? dns.getServers().map((server) => parseServer(server, "servers")),
    exchange: exchangeBy(transport),
    timeoutMs: options.timeoutMs ?? 1_000,
    intervalMs: options.intervalMs ?? 1_000,
    env: resolveEnv(options.env),
  });

  return createRegistry({
    name: "dns",
    env: options.env,
    emptyGraceMs: options.emptyGraceMs,
    source: (query) => dnsSource(ask, query, { name: nameOf(name, query), type, port }, priorities),
    sink: dnsSink,
  });
}

/** Letters, digits, `-` and `_`, as every name server takes them; 63 in a label, 253 in a name. */
const NAME = /^(?=.{1,253}\.?$)[\w-]{1,63}(\.[\w-]{1,63})*\.?$/;

function nameOf(pattern: DnsName, { service, tags }: NormalizedQuery): string {
  if (typeof pattern === "string" && tags.length > 0) {
    throw new InvalidOptionError("tags", "none, unless the option name is a function that makes a name of them", tags);
  }
  const name: unknown =
    typeof pattern === "function" ? pattern({ service, tags }) : pattern.replaceAll("{service}", () => service);
  if (typeof name === "string" && NAME.test(name)) return name.replace(/\.$/, "");
  throw new InvalidOptionError("service", "a service that makes a name of DNS", name);
}

/** `host`, `host:port`, and an IPv6 address with or without brackets. */
function parseServer(value: unknown, path: string): NameServer {
  is.string(value, path);
  const text = String(value);
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d+))?$/.exec(text) ?? [];
  const server = { host: bracketed ?? plain ?? text, port: Number(port ?? 53) };
  is.host(server.host, path);
  is.port(server.port, path);
  return server;
}
