import { createBalancer } from "./balancer.ts";
import type { Endpoint } from "./endpoint.ts";
import {
  ENDPOINTER_CHECKS,
  type EndpointerOptions,
  type Factory,
  type ReadyOptions,
  createEndpointer,
} from "./endpointer.ts";
import { ClosedError } from "./errors.ts";
import type { Instancer } from "./instancer.ts";
import { Latch } from "./latch.ts";
import { type Closable, closable } from "./lifecycle.ts";
import { OPEN_CALL, type OpenCall, type OpenClient } from "./open-call.ts";
import { checkOptions, is, required } from "./options.ts";
import type { Policy } from "./policy.ts";
import { type Call, RETRY_CHECKS, type RetryOptions, promising, retryUntil } from "./retry.ts";

/** What an application calls: a service, however many instances it has. */
export interface Client<C> extends Closable {
  readonly call: Call<C>;
  readonly endpoints: readonly Endpoint<C>[];
  /** Its endpointer's. `call` waits by itself; this is for those who want to know before they start. */
  ready(options?: ReadyOptions): Promise<void>;
  /**
   * Lets the running attempts end (`drainMs`) and closes all endpoints' clients. Calls that wait or back off end at once,
   * with `ClosedError`. The instancer stays open.
   */
  close(): Promise<void>;
}

/** What {@link createClient} needs and can be told. */
export interface ClientOptions<C> extends EndpointerOptions<C> {
  /** Stays its maker's: the client subscribes to it, and leaves it when closed. */
  readonly instancer: Instancer;
  readonly factory: Factory<C>;
  /** Default: {@link defaultPolicy}. */
  readonly policy?: Policy | undefined;
  /** `false`: one attempt, still with the deadline, and still a `RetryError` when it fails. */
  readonly retry?: RetryOptions | false | undefined;
}

/** The options of a client that is made for one kind of connection, for whoever takes them along with its own. */
export const CLIENT_CHECKS = {
  ...ENDPOINTER_CHECKS,
  instancer: required(is.instancer),
  policy: is.policy,
  retry: (value: unknown, path: string): void => {
    if (value !== false) checkOptions(path, value, RETRY_CHECKS);
  },
};

/**
 * Makes a {@link Client}: an endpointer, a balancer and retry, wired. Starts to discover at once. The caller closes it.
 *
 * @throws InvalidOptionError
 */
export function createClient<C>(options: ClientOptions<C>): Client<C> {
  checkOptions("", options, { ...CLIENT_CHECKS, factory: required(is.function) });
  const { instancer, factory, policy, retry: retryOptions = {}, staleAfterMs, drainMs, close, env } = options;
  const endpointer = createEndpointer(instancer, factory, { staleAfterMs, drainMs, close, env });
  const rules = retryOptions === false ? { maxAttempts: 1, budget: false as const } : retryOptions;
  const closing = new Latch();
  let retried: OpenCall<C>;
  try {
    retried = retryUntil(createBalancer(endpointer, policy, { env }), { ...rules, env: rules.env ?? env }, closing);
  } catch (error) {
    // Its policy could not be made: nobody will ever close what discovers already.
    void endpointer.close();
    throw error;
  }
  let closed = false;
  const call: OpenCall<C> = (fn, callOptions, ends) => {
    if (closed) ends.reject(new ClosedError(`the client of service "${instancer.service}"`));
    else retried(fn, callOptions, ends);
  };
  const client: OpenClient<C> = {
    call: promising(call),
    [OPEN_CALL]: call,
    get endpoints() {
      return endpointer.endpoints;
    },
    ready: (readyOptions) => endpointer.ready(readyOptions),
    ...closable(() => {
      closed = true;
      const ended = endpointer.close();
      closing.open(); // now that a pick says that it is closed
      return ended;
    }),
  };
  return client;
}
