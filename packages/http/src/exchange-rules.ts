import { type Client, type ClientOptions, type Env, createClient, resolveEnv } from "@rollcall/core";
import type { HttpClientOptions } from "./http-options.ts";
import { DEFAULT_TIMEOUT_MS, FAILURE_STATUSES } from "./http-checks.ts";
import { patientBackoff } from "./patient-backoff.ts";

/** What a client knows that all its exchanges need. */
export interface ExchangeRules<C> {
  readonly client: Client<C>;
  readonly failureStatuses: ReadonlySet<number>;
  readonly maxReplayBytes: number;
  /** The client's own predicate, if it has one. */
  readonly retryable: ((error: unknown, attempt: number) => boolean) | undefined;
  /** Likewise. */
  readonly unsent: ((error: unknown, attempt: number) => boolean) | undefined;
  /** Whether the client hedges what may be hedged. */
  readonly hedges: boolean;
  readonly env: Env;
  /** Of a whole call, where it does not say otherwise. */
  readonly timeoutMs: number;
  /** Of each attempt, if it has a limit of its own. */
  readonly attemptTimeoutMs: number | undefined;
  /** Whether instances are told how much time is left. */
  readonly sendDeadline: boolean;
}

/** What of a client's options is not about its connections. */
type ExchangeRulesOptions = Pick<
  HttpClientOptions,
  "policy" | "staleAfterMs" | "drainMs" | "env" | "retry" | "failureStatuses" | "maxReplayBytes" | "sendDeadline"
>;

/** Makes the client of a service, and the rules for all exchanges with it. The caller closes `rules.client`. */
export function exchangeRules<C>(
  options: ExchangeRulesOptions,
  connections: Pick<ClientOptions<C>, "instancer" | "factory" | "close">,
): ExchangeRules<C> {
  const { policy, staleAfterMs, drainMs, env, retry } = options;
  const own = retry === false ? undefined : (retry ?? {});
  const client = createClient({
    ...connections,
    policy,
    staleAfterMs,
    drainMs,
    env,
    retry: own === undefined ? false : { ...own, backoff: own.backoff ?? patientBackoff(own.env ?? env) },
  });
  return {
    client,
    failureStatuses: new Set(options.failureStatuses ?? FAILURE_STATUSES),
    maxReplayBytes: options.maxReplayBytes ?? 65_536,
    retryable: own?.retryable,
    unsent: own?.unsent,
    hedges: own?.hedge !== undefined && own.hedge !== false,
    env: resolveEnv(own?.env ?? env),
    timeoutMs: own?.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    attemptTimeoutMs: own?.attemptTimeoutMs,
    sendDeadline: options.sendDeadline === true,
  };
}
