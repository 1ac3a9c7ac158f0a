import type { IncomingMessage } from "node:http";
import { type Registry, InvalidOptionError, checkOptions, is, resolveEnv } from "@rollcall/core";
import { type HttpClient, type ServiceClientOptions, serviceClient } from "@rollcall/http";
import type { HeaderRules } from "./forwarded-headers.ts";
import type { ExchangeParts } from "./gateway-exchange.ts";
import type { GatewayLimits } from "./gateway-request.ts";

/** How requests go on to the service. The rest is said as for a client: `policy`, `retry`, `tags`, … */
export interface GatewayOptions extends Omit<ServiceClientOptions, "service"> {
  /** Where the service is found. Stays the caller's. Either this or `client`. */
  readonly registry?: Registry | undefined;
  /** A client made elsewhere, which stays its maker's. The options for making one are then not allowed. */
  readonly client?: Pick<HttpClient, "dispatch" | "timeoutMs"> | undefined;
  /** What instances get to see before the path: `/lorem`. Default: nothing. */
  readonly prefix?: string | undefined;
  /** The path under which `upgrade` takes connections: what `app.use` was told, `/api/lorem`. Default: every path. */
  readonly upgradePath?: string | undefined;
  /**
   * How long an instance may take until its answer begins, retries included. For requests with a body it counts from
   * the last byte that came, so that a slow upload is no slow answer. Default: the client's (`retry.timeoutMs`, 10 s).
   */
  readonly timeoutMs?: number | undefined;
  /** How long a caller may take nothing of an answer before it is cut off, to free the instance. Default 60 s. */
  readonly stallTimeoutMs?: number | undefined;
  /** The largest body of a request. Default 100 MiB; `Infinity` for no limit. */
  readonly maxBodyBytes?: number | undefined;
  /** The most headers of a request. Default 100. Node itself drops those beyond 2,000 without a word. */
  readonly maxHeaders?: number | undefined;
  /** The largest header of a request, all in all. Default 16 KiB, which is Node's own limit too (`maxHeaderSize`). */
  readonly maxHeaderBytes?: number | undefined;
  /** Whether this request may be sent again after bytes have left. Undefined: by its method (`GET`, `PUT`, …). */
  readonly idempotent?: ((request: IncomingMessage) => boolean | undefined) | undefined;
  /**
   * Whether what the sender says of where a request came from is believed (`Forwarded`, `X-Forwarded-*`, `X-Real-IP`):
   * true only if all requests come through proxies that overwrite it, or a function that knows them by their address.
   * Default false: it is thrown away, and told anew.
   */
  readonly trustForwarded?: boolean | ((request: IncomingMessage) => boolean) | undefined;
  /**
   * Whether the sender may say by which attempt and in how many milliseconds a request has to be answered
   * (`x-rollcall-attempt`, `x-rollcall-deadline-ms`). For gateways between one's own services only: a stranger with a
   * deadline of 1 ms makes healthy instances fail, and a policy may then avoid them. Default false.
   */
  readonly trustCallChain?: boolean | undefined;
  /** Whether `Forwarded` (RFC 7239) is sent besides `X-Forwarded-*`. Default false. */
  readonly forwarded?: boolean | undefined;
  /** A name under which the gateway adds itself to `Via`. Default none: some servers compress nothing for proxies. */
  readonly via?: string | undefined;
  /** Told every error that a caller got as 500, 502, 503 or 504, or as a broken connection. */
  readonly onError?: ((error: unknown, request: IncomingMessage) => void) | undefined;
}

/** The options of a gateway, checked and with their defaults, and the client they ask for. */
interface ResolvedGateway {
  readonly parts: ExchangeParts;
  readonly rules: HeaderRules;
  readonly limits: GatewayLimits;
  readonly prefix: string;
  readonly upgradePath: string;
  readonly timeoutMs: number | undefined;
  readonly idempotent: ((request: IncomingMessage) => boolean | undefined) | undefined;
  readonly trustCallChain: boolean;
  /** Closes the client, if it was made here. */
  close(): Promise<void>;
}

const MAX_BODY_BYTES = 100 * 1024 * 1024;
const MAX_HEADER_BYTES = 16 * 1024;

/** Checks everything, and makes the client last. Throws `InvalidOptionError`. */
export function resolveGateway(service: string, options: GatewayOptions): ResolvedGateway {
  const {
    registry,
    client: given,
    prefix = "",
    upgradePath = "",
    timeoutMs,
    stallTimeoutMs = 60_000,
    ...rest
  } = options;
  const { maxBodyBytes = MAX_BODY_BYTES, maxHeaders = 100, maxHeaderBytes = MAX_HEADER_BYTES, ...others } = rest;
  const { idempotent, trustForwarded = false, trustCallChain = false, forwarded = false, via, ...more } = others;
  const { onError, ...forClient } = more;
  const { service: misplaced } = forClient as { readonly service?: unknown };
  if (misplaced !== undefined) throw new InvalidOptionError("service", "no second service", misplaced);
  checkOptions(
    "",
    {
      prefix,
      upgradePath,
      timeoutMs,
      stallTimeoutMs,
      maxBodyBytes,
      maxHeaders,
      maxHeaderBytes,
      idempotent,
      trustForwarded,
      trustCallChain,
      forwarded,
      via,
      onError,
    },
    CHECKS,
  );
  const { client, close } =
    given === undefined
      ? ownClient(registry, { ...forClient, service })
      : borrowedClient(given, { registry, ...forClient });
  return {
    parts: { service, client, env: resolveEnv(forClient.env), stallTimeoutMs, report: reporter(onError) },
    rules: { trusts: typeof trustForwarded === "function" ? trustForwarded : () => trustForwarded, forwarded, via },
    limits: { maxBodyBytes, maxHeaders, maxHeaderBytes },
    prefix,
    upgradePath,
    timeoutMs,
    idempotent,
    trustCallChain,
    close,
  };
}

/** What requests go through, and how it ends with the gateway. */
interface GatewayClient {
  readonly client: Pick<HttpClient, "dispatch" | "timeoutMs">;
  close(): Promise<void>;
}

function ownClient(registry: Registry | undefined, options: ServiceClientOptions): GatewayClient {
  if (registry === undefined) throw new InvalidOptionError("registry", "a registry, or a client", registry);
  const client = serviceClient(registry, options);
  return { client, close: client.close };
}

/** A client that is made already: options for making one would be silently useless. */
function borrowedClient(client: GatewayClient["client"], options: Readonly<Record<string, unknown>>): GatewayClient {
  is.function(Reflect.get(Object(client), "dispatch"), "client.dispatch");
  for (const [key, value] of Object.entries(options)) {
    if (value !== undefined) throw new InvalidOptionError(key, "nothing, beside a client that is made already", value);
  }
  return { client, close: async () => undefined };
}

/** Whoever is told of errors must not make more of them. */
function reporter(onError: GatewayOptions["onError"]): ExchangeParts["report"] {
  return (error, request) => {
    try {
      onError?.(error, request);
    } catch (thrown) {
      process.emitWarning(thrown instanceof Error ? thrown : String(thrown));
    }
  };
}

function isPath(value: unknown, path: string): void {
  if (value === "" || (typeof value === "string" && /^(\/[^/?#]+)+$/.test(value))) return;
  throw new InvalidOptionError(path, "a path that starts with a slash and does not end with one", value);
}

const CHECKS = {
  prefix: isPath,
  upgradePath: isPath,
  timeoutMs: is.durationMs,
  stallTimeoutMs: is.durationMs,
  maxBodyBytes: is.number(0),
  maxHeaders: is.number(1),
  maxHeaderBytes: is.number(1),
  idempotent: is.function,
  trustForwarded: (value: unknown, path: string): void => {
    if (typeof value !== "function") is.boolean(value, path);
  },
  trustCallChain: is.boolean,
  forwarded: is.boolean,
  via: (value: unknown, path: string): void => {
    if (typeof value === "string" && /^[!#$%&'*+.^_`|~\w:-]+$/.test(value)) return;
    throw new InvalidOptionError(path, "a name of letters, digits and signs, without spaces", value);
  },
  onError: is.function,
};
