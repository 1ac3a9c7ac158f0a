import { type Closable, type Registry, checkOptions, closable, is } from "@rollcall/core";
import { Dispatcher, Dispatcher1Wrapper, errors, getGlobalDispatcher } from "undici";
import { type DispatchRules, dispatchBalanced } from "./dispatch-exchange.ts";
import { Relay } from "./relay.ts";
import { requestRules } from "./request-rules.ts";
import { RunningRelays } from "./running-relays.ts";
import { type ServiceClientOptions, checkServiceClient } from "./service-client.ts";
import { type ServiceHosts, serviceHosts } from "./service-hosts.ts";
import { type ServicesOptions, serviceOptions, servicesChecks } from "./service-options.ts";
import { withInstancer } from "./with-instancer.ts";

/** What {@link discoveryDispatcher} needs and can be told. */
export interface DiscoveryDispatcherOptions extends ServicesOptions<Omit<ServiceClientOptions, "service">> {
  /** Who sends what goes to no service. Stays its maker's. Default: undici's global dispatcher, at the time of use. */
  readonly fallback?: Dispatcher | undefined;
}

/**
 * An undici `Dispatcher` that understands `http://<service>/…`: each request is sent to an instance that the service's
 * balancer picks, by all the rules of {@link HttpClient}; other hosts are passed on to `fallback`. `https://<service>/…`
 * always speaks TLS to the instances, `http://<service>/…` what `protocol` says.
 *
 * For `request`, `stream`, `pipeline`, `fetch`, `upgrade` and `connect` of undici, as an option or by
 * `setGlobalDispatcher`, which the process's built-in fetch follows too. The clients of the services are made at their
 * first use. A request fails as those of {@link HttpClient} do, with core's `RetryError`; with `retry: false` it fails
 * with its only attempt's own error, so that undici's retry interceptor can judge it. An upgraded connection counts as
 * load until it closes.
 *
 * The caller closes it: `close()` lets what runs end for at most `drainMs`, `destroy()` does not.
 *
 * ```ts
 * import { memoryRegistry } from "@rollcall/core";
 * import { discoveryDispatcher } from "@rollcall/http";
 * import { request } from "undici";
 *
 * await using registry = memoryRegistry();
 * await using dispatcher = discoveryDispatcher({ registry, clients: { lorem: { retry: { timeoutMs: 2_000 } } } });
 * const { body } = await request("http://lorem/lorem/word/3/10", { dispatcher, method: "POST" });
 * await body.json();
 * ```
 *
 * @throws InvalidOptionError
 */
export function discoveryDispatcher(options: DiscoveryDispatcherOptions): Dispatcher & AsyncDisposable {
  checkOptions("", options, { ...servicesChecks(checkServiceClient), fallback: isDispatcher });
  return new DiscoveryDispatcher(options);
}

class DiscoveryDispatcher extends Dispatcher implements AsyncDisposable {
  readonly #hosts: ServiceHosts<ServiceRules>;
  readonly #fallback: Dispatcher | undefined;
  /** The last resort where the global dispatcher is this one, or passes on to it. */
  readonly #before = getGlobalDispatcher();
  readonly #legacy = new Dispatcher1Wrapper(this);
  readonly #running = new RunningRelays();

  constructor(options: DiscoveryDispatcherOptions) {
    super();
    const { registry, fallback, services, maxServices, clients = {} } = options;
    this.#fallback = fallback;
    this.#hosts = serviceHosts({
      services,
      maxServices,
      known: Object.keys(clients),
      make: (name, secure) => serviceRules(registry, serviceOptions(options, name), secure),
    });
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    // Handlers of older undicis, such as those of Node's built-in fetch, are told of everything by other names.
    if (typeof handler.onRequestStart !== "function") return this.#legacy.dispatch(options, handler);
    let rules: DispatchRules | undefined;
    try {
      rules = this.#hosts.find(String(options.origin));
    } catch (error) {
      const relay = new Relay(handler, this.#running);
      queueMicrotask(() => relay.fail(error));
      return true;
    }
    if (rules === undefined) return this.#pass(options, handler);
    dispatchBalanced(rules, options, handler, this.#running);
    return true;
  }

  #pass(options: PassedOptions, handler: Dispatcher.DispatchHandler): boolean {
    if (this.#fallback !== undefined) return this.#fallback.dispatch(options, handler);
    // What comes here again has been to the global dispatcher already.
    if (options[PASSED] === true) return this.#before.dispatch(options, handler);
    return getGlobalDispatcher().dispatch({ ...options, [PASSED]: true } as PassedOptions, handler);
  }

  override close(): Promise<void>;
  override close(callback: () => void): void;
  override close(onClosed?: () => void): Promise<void> | void {
    const closed = this.#hosts.close();
    if (onClosed === undefined) return closed;
    void closed.then(onClosed);
  }

  override destroy(): Promise<void>;
  override destroy(error: Error | null): Promise<void>;
  override destroy(callback: () => void): void;
  override destroy(error: Error | null, callback: () => void): void;
  override destroy(first?: Error | null | (() => void), second?: () => void): Promise<void> | void {
    const [error, onClosed] = typeof first === "function" ? [undefined, first] : [first, second];
    const closed = this.#hosts.close();
    this.#running.abort(error ?? new errors.ClientDestroyedError());
    if (onClosed === undefined) return closed;
    void closed.then(onClosed);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** The mark of a request that was passed on to the global dispatcher. */
const PASSED = Symbol("passed on");

interface PassedOptions extends Dispatcher.DispatchOptions {
  readonly [PASSED]?: boolean;
}

type ServiceRules = DispatchRules & Closable;

function serviceRules(registry: Registry, options: ServiceClientOptions, secure: boolean): ServiceRules {
  const { service, tags, passingOnly, ...http } = options;
  return withInstancer(registry, { service, tags, passingOnly }, (instancer) => {
    const rules = requestRules({ ...http, instancer, protocol: secure ? "https" : http.protocol });
    const life = closable(async () => {
      await rules.client.close();
      await instancer.close();
    });
    return { ...rules, once: http.retry === false, ...life };
  });
}

function isDispatcher(value: unknown, path: string): void {
  is.object(value, path);
  is.function(Reflect.get(Object(value), "dispatch"), `${path}.dispatch`);
}
