import {
  CLIENT_CHECKS,
  type Closable,
  type Env,
  type Instance,
  type Policy,
  QUERY_CHECKS,
  type Registry,
  type RetryOptions,
  type ServiceQuery,
  address,
  checkOptions,
  closable,
  is,
} from "@rollcall/core";
import { bodyAtHand } from "./body-at-hand.ts";
import { type BuiltInAnswer, BuiltInExchange, type BuiltInRequest } from "./built-in-exchange.ts";
import type { IncomingRequest } from "./call-chain.ts";
import { type ExchangeRules, exchangeRules } from "./exchange-rules.ts";
import { NULL_BODY, checkBody, fetched, isStream } from "./fetch-standard.ts";
import { HTTP_CHECKS } from "./http-checks.ts";
import { normalizeMethod } from "./method.ts";
import { onlyError } from "./only-error.ts";
import { type Redirected, followRedirects, redirectMode } from "./redirect.ts";
import { ReplayStream } from "./replay-stream.ts";
import { serviceHosts } from "./service-hosts.ts";
import { type ServicesOptions, serviceOptions, servicesChecks } from "./service-options.ts";
import { withInstancer } from "./with-instancer.ts";

/** What can be said of one service: see `HttpClientOptions` of `@rollcall/http`. Connections are the built-in fetch's. */
export interface ServiceFetchOptions extends Omit<ServiceQuery, "service"> {
  /** Default: core's `defaultPolicy()`. */
  readonly policy?: Policy | undefined;
  /** As in core, with defaults that know HTTP: see {@link createFetch}. */
  readonly retry?: RetryOptions | false | undefined;
  /** How long the end waits for bodies that are still coming. Default 30 s. */
  readonly drainMs?: number | undefined;
  /** How long to go on with the last known instances when the registry fails. Default: for ever. */
  readonly staleAfterMs?: number | undefined;
  readonly env?: Partial<Env> | undefined;
  /** For `http://<service>/`; `https://<service>/` always speaks TLS. Default `"http"`. */
  readonly protocol?: "http" | "https" | ((instance: Instance) => "http" | "https") | undefined;
  /** Sent with every request that does not set them itself. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** How much of a request body that is a stream is kept so that it can be sent again. Default 64 KiB. */
  readonly maxReplayBytes?: number | undefined;
  /** Statuses that count as the endpoint's failure, and are retried where that is safe. Default 429, 502, 503, 504. */
  readonly failureStatuses?: readonly number[] | undefined;
  /**
   * Whether each request says how much time is left (`x-rollcall-deadline-ms`), for servers that read it by
   * `requestDeadline`. Default false. Repeated requests always say so (`x-rollcall-attempt`), for `isRetried`.
   */
  readonly sendDeadline?: boolean | undefined;
}

/** What {@link createFetch} needs and can be told. */
export interface CreateFetchOptions extends ServicesOptions<ServiceFetchOptions> {
  /** What sends. Default: the process's own fetch, as it is now. */
  readonly fetch?: typeof fetch | undefined;
}

/** The standard members, and how to balance. */
export interface DiscoveryFetchInit extends RequestInit {
  /** What hashing policies choose by. */
  readonly key?: string | undefined;
  /** Until the head of the response is here; replaces `retry.timeoutMs`. */
  readonly timeoutMs?: number | undefined;
  /** Whether it may be sent again after bytes have left. Default: by the method. */
  readonly idempotent?: boolean | undefined;
  /** `false`: it is not hedged, though `retry.hedge` says so. */
  readonly hedge?: boolean | undefined;
  /**
   * The request that is being served by this one: bounds its time, and its retries if it was repeated itself. Default:
   * that of the surrounding `whileServing`; `false` for none.
   */
  readonly incoming?: IncomingRequest | false | undefined;
}

/** `fetch`, which understands `http://<service>/…`. The caller closes it. */
export interface DiscoveryFetch extends Closable {
  (input: string | URL | Request, init?: DiscoveryFetchInit): Promise<Response>;
}

/**
 * Makes a `fetch` that understands `http://<service>/…`: it sends each request by the built-in one to an instance that
 * the service's balancer picks; other hosts go to the built-in one untouched. For everything that takes a fetch: ky,
 * axios (`adapter: "fetch"`), generated clients. It loads no undici, and changes nothing of the process's own fetch.
 *
 * What is sent again follows the rules of `httpClient` in `@rollcall/http`, as far as the built-in fetch lets them be
 * known. Not sent for certain is what was refused, unresolvable, unreachable, or failed in its TLS handshake; whatever
 * else fails is repeated only if it is idempotent, and if its body is still there. Redirects are followed within the
 * service and handed over otherwise. When there is no further attempt, the last response is the answer, whatever its
 * status; without one it rejects with core's `RetryError`, or, with `retry: false`, with the only attempt's own error, so
 * that ky and others that repeat can judge it. A slot is taken until the response's body was read.
 *
 * ```ts
 * import { memoryRegistry } from "@rollcall/core";
 * import { createFetch } from "@rollcall/http/fetch";
 *
 * await using registry = memoryRegistry();
 * await using fetchLorem = createFetch({ registry, defaults: { retry: { timeoutMs: 2_000 } } });
 * const response = await fetchLorem("http://lorem/lorem/word/3/10", { method: "POST" });
 * await response.json();
 * ```
 *
 * @throws InvalidOptionError
 */
export function createFetch(options: CreateFetchOptions): DiscoveryFetch {
  checkOptions("", options, { ...servicesChecks(checkService), fetch: is.function });
  const { registry, services, maxServices, clients = {}, fetch: builtIn = globalThis.fetch } = options;
  const hosts = serviceHosts({
    services,
    maxServices,
    known: Object.keys(clients),
    make: (name, secure) => fetchRules(registry, serviceOptions(options, name), secure),
  });
  const discoveryFetch = async (input: string | URL | Request, init: DiscoveryFetchInit = {}): Promise<Response> => {
    const text = input instanceof Request ? input.url : String(input);
    const url = URL.canParse(text) ? new URL(text) : undefined;
    const rules = hosts.find(url?.origin ?? "");
    return url === undefined || rules === undefined
      ? builtIn(input, init)
      : fetchFrom(rules, builtIn, url, input, init);
  };
  return Object.assign(discoveryFetch, { close: hosts.close, [Symbol.asyncDispose]: hosts.close });
}

interface FetchRules extends ExchangeRules<string>, Closable {
  /** Whether there is one attempt only: then its own error is the call's, for whoever repeats it. */
  readonly once: boolean;
  readonly service: string;
  readonly headers: Readonly<Record<string, string>>;
}

function fetchRules(registry: Registry, options: ServiceFetchOptions & ServiceQuery, secure: boolean): FetchRules {
  const { service, tags, passingOnly, protocol = "http" } = options;
  const protocolOf = secure ? () => "https" : typeof protocol === "function" ? protocol : () => protocol;
  return withInstancer(registry, { service, tags, passingOnly }, (instancer) => {
    const rules = exchangeRules<string>(options, {
      instancer,
      factory: (instance) => `${protocolOf(instance)}://${address(instance)}`,
    });
    return {
      ...rules,
      once: options.retry === false,
      service,
      headers: options.headers ?? {},
      ...closable(async () => {
        await rules.client.close();
        await instancer.close();
      }),
    };
  });
}

async function fetchFrom(
  rules: FetchRules,
  builtIn: typeof fetch,
  url: URL,
  input: string | URL | Request,
  init: DiscoveryFetchInit,
): Promise<Response> {
  const given = input instanceof Request ? input : undefined;
  const { key, timeoutMs, idempotent, hedge, incoming, body: ownBody, signal: ownSignal, redirect, ...others } = init;
  const mode = redirectMode(redirect ?? given?.redirect);
  const method = normalizeMethod(init.method ?? given?.method);
  const headers = new Headers(init.headers ?? given?.headers);
  for (const [name, value] of Object.entries(rules.headers)) if (!headers.has(name)) headers.set(name, value);
  // It knows what is wrong with a request, and this is the time to say so.
  void new Request(url, { ...others, method, headers });
  checkBody(method, ownBody);
  const signal = ownSignal === undefined ? given?.signal : (ownSignal ?? undefined);
  const body = await requestBody(ownBody ?? undefined, given, rules.maxReplayBytes);
  const options = { signal, key, timeoutMs, idempotent, hedge, incoming };
  const end = await followRedirects(
    rules.service,
    mode,
    { method, target: url.pathname + url.search, headers, streams: body instanceof ReplayStream },
    (method, target, withBody) => {
      const request = { method, target, init: { ...others, headers }, body: withBody ? body : null };
      const answer = new BuiltInExchange(rules, builtIn, request, options).run();
      return rules.once ? answer.catch((error: unknown) => Promise.reject(onlyError(error))) : answer;
    },
    (answer) => answer.drop(),
  );
  return response(end, url.origin);
}

async function requestBody(
  own: RequestInit["body"] | undefined,
  given: Request | undefined,
  maxReplayBytes: number,
): Promise<NonNullable<BuiltInRequest["body"]> | null> {
  let body: unknown = own;
  if (own === undefined && given !== undefined && given.body !== null) {
    if (given.bodyUsed) throw new TypeError("fetch failed: the body of the request has been read already");
    body = await bodyAtHand(given.body);
  }
  return isStream(body) ? new ReplayStream(body, maxReplayBytes) : ((body ?? null) as RequestInit["body"] & object);
}

function response({ answer, method, target, redirected }: Redirected<BuiltInAnswer>, origin: string): Response {
  const { status, statusText, headers } = answer.response;
  const bodiless = method === "HEAD" || NULL_BODY.has(status);
  if (bodiless || status > 599) answer.drop();
  if (status > 599) throw new TypeError(`fetch failed: the service answered with the status ${status}, which is none`);
  const made = new Response(bodiless ? null : answer.body, { status, statusText, headers });
  return fetched(made, origin + target, redirected);
}

const { instancer: _, close: __, ...clientChecks } = CLIENT_CHECKS;
const SERVICE_CHECKS = { ...QUERY_CHECKS, ...clientChecks, ...HTTP_CHECKS, maxReplayBytes: is.number(0) };

function checkService(path: string, options: object): void {
  checkOptions(path, options, SERVICE_CHECKS);
}
