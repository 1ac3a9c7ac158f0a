import { checkOptions, type Instance, is, type Registration, type Sink } from "@rollcall/core";

/** What a registrar asks of a sink. */
export type SinkOperation = "register" | "renew" | "remove";

/** One call that a {@link ScriptedSink} received. */
export interface SinkCall {
  readonly operation: SinkOperation;
  readonly instance: Instance;
  /** The signal that came with it: a test can look whether it was aborted. */
  readonly signal: AbortSignal;
}

/** How {@link scriptedSink} answers. */
export interface ScriptedSinkOptions {
  /** For messages. Default `scripted`. */
  readonly name?: string | undefined;
  /** How often registrations ask to be renewed. Default: never; they then have no `renew` at all. */
  readonly renewEveryMs?: number | undefined;
}

/** A {@link Sink} that remembers every call and behaves as badly as the test wants. It accepts everything at first. */
export interface ScriptedSink extends Sink {
  /** Every call so far, in order, whatever became of it. */
  readonly calls: readonly SinkCall[];
  /** The same, in short: `["register", "renew", …]`. */
  readonly operations: readonly SinkOperation[];
  /** What is registered now, by id: that is what a client would see. */
  readonly registered: ReadonlyMap<string, Instance>;
  /** Lets this operation reject with the error from now on, or only the next `times` calls of it. */
  reject(operation: SinkOperation, error: unknown, times?: number): void;
  /** Lets this operation never answer from now on; a call rejects only when its own signal aborts. */
  hang(operation: SinkOperation): void;
  /** Lets this operation succeed again (all of them, if none is named). Calls that hang succeed now. */
  accept(operation?: SinkOperation): void;
  /** Loses all records, as a registry that restarted empty: renewals reject until the instance is registered again. */
  forget(): void;
}

type Behaviour =
  | { readonly kind: "accept" }
  | { readonly kind: "reject"; readonly error: unknown; left: number }
  | { readonly kind: "hang"; readonly released: Promise<void>; readonly release: () => void };

/**
 * Makes a {@link ScriptedSink}. A call whose signal is or gets aborted rejects with `signal.reason`, as the contract
 * of a sink demands, and changes nothing.
 *
 * ```ts
 * import { createInstance, createRegistrar } from "@rollcall/core";
 * import { scriptedSink } from "@rollcall/testing";
 * const sink = scriptedSink({ renewEveryMs: 1_000 });
 * sink.reject("register", new Error("no leader"), 1);
 * const instance = createInstance({ service: "lorem", host: "10.0.0.1", port: 80 });
 * await using registrar = createRegistrar(instance, sink);
 * await registrar.register().catch(() => {}); // "no leader"; the registrar goes on trying by itself
 * ```
 */
export function scriptedSink(options: ScriptedSinkOptions = {}): ScriptedSink {
  checkOptions("", options, { name: is.nonEmptyString, renewEveryMs: is.durationMs });
  const { name = "scripted", renewEveryMs } = options;
  const calls: SinkCall[] = [];
  const registered = new Map<string, Instance>();
  const behaviours: Record<SinkOperation, Behaviour> = {
    register: { kind: "accept" },
    renew: { kind: "accept" },
    remove: { kind: "accept" },
  };

  const release = (operation: SinkOperation, next: Behaviour): void => {
    const previous = behaviours[operation];
    behaviours[operation] = next;
    if (previous.kind === "hang") previous.release();
  };

  const call = async (operation: SinkOperation, instance: Instance, signal: AbortSignal): Promise<void> => {
    calls.push({ operation, instance, signal });
    signal.throwIfAborted();
    const behaviour = behaviours[operation];
    if (behaviour.kind === "reject") {
      if (--behaviour.left <= 0) behaviours[operation] = { kind: "accept" };
      throw behaviour.error;
    }
    if (behaviour.kind === "hang") {
      const aborted = Promise.withResolvers<void>();
      const abort = (): void => aborted.resolve();
      signal.addEventListener("abort", abort);
      await Promise.race([behaviour.released, aborted.promise]);
      signal.removeEventListener("abort", abort);
      signal.throwIfAborted();
    }
  };

  const registration = (instance: Instance): Registration => ({
    ...(renewEveryMs === undefined
      ? {}
      : {
          renewEveryMs,
          renew: async (signal) => {
            await call("renew", instance, signal);
            if (!registered.has(instance.id)) throw new Error(`${name} does not know ${instance.id}`);
          },
        }),
    remove: async (signal) => {
      await call("remove", instance, signal);
      registered.delete(instance.id);
    },
  });

  return {
    name,
    calls,
    registered,
    get operations() {
      return calls.map((entry) => entry.operation);
    },
    async register(instance, signal) {
      await call("register", instance, signal);
      registered.set(instance.id, instance);
      return registration(instance);
    },
    reject: (operation, error, times = Infinity) => release(operation, { kind: "reject", error, left: times }),
    hang(operation) {
      const { promise, resolve } = Promise.withResolvers<void>();
      release(operation, { kind: "hang", released: promise, release: resolve });
    },
    accept(operation) {
      for (const each of operation === undefined ? (["register", "renew", "remove"] as const) : [operation]) {
        release(each, { kind: "accept" });
      }
    },
    forget: () => registered.clear(),
  };
}
