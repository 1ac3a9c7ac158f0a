import { type Backoff, RECONNECT, fullJitter } from "./backoff.ts";
import { bounded } from "./bounded.ts";
import { channels } from "./channels.ts";
import { type Endpoint, LiveEndpoint } from "./endpoint.ts";
import { type Env, resolveEnv, stayAlive } from "./env.ts";
import { ClosedError, TimeoutError } from "./errors.ts";
import { type Instance, address, sameInstance } from "./instance.ts";
import type { Instancer } from "./instancer.ts";
import { Latch } from "./latch.ts";
import { type Abortable, type Closable, closable } from "./lifecycle.ts";
import { checkOptions, is, required } from "./options.ts";
import type { Snapshot } from "./snapshot.ts";

/** Makes the client for one instance; there is one factory per service. May be asynchronous, may throw. */
export type Factory<C> = (instance: Instance) => C | Promise<C>;

/** What {@link createEndpointer} can be told. */
export interface EndpointerOptions<C> {
  /** How long a stale set is used. At that age it becomes empty and its clients are closed. Default: for ever. */
  readonly staleAfterMs?: number | undefined;
  /** How long a removed endpoint may finish its calls before its client is closed. Default 30 s; 0 for at once. */
  readonly drainMs?: number | undefined;
  /**
   * Closes a client; called exactly once for each client that was made. What it throws is reported, not thrown; so is one
   * that takes longer than two seconds, for which nobody waits any more.
   */
  readonly close?: ((client: C, instance: Instance) => void | Promise<void>) | undefined;
  readonly env?: Partial<Env> | undefined;
}

/** How long {@link Endpointer.ready} waits. */
export interface ReadyOptions extends Abortable {
  /** Be content with one client, though others are still being made. Default: wait for all of them. */
  readonly any?: boolean | undefined;
}

/** The changing set of endpoints of one service. */
export interface Endpointer<C> extends Closable {
  readonly service: string;
  /** What is known of the service: the instancer's. */
  readonly snapshot: Snapshot;
  /** Frozen; a new array whenever a member or its facts changed, the same one otherwise. In the snapshot's order. */
  readonly endpoints: readonly Endpoint<C>[];
  /**
   * Resolves when the service is known and the first clients have been made (or have failed); a service that is known
   * to have no instances is ready. Rejects with `ClosedError` when closed, with `signal.reason` when aborted. The process
   * stays alive meanwhile, though the registry may be down and nothing but the next try be due.
   */
  ready(options?: ReadyOptions): Promise<void>;
}

/** A client that does not close must not hold up a shutdown. */
const CLOSE_MS = 2_000;

/** The options that have to do with endpoints, for whoever takes them along with its own. */
export const ENDPOINTER_CHECKS = {
  staleAfterMs: is.durationMs,
  drainMs: is.durationMs,
  close: is.function,
  env: is.env,
};

/**
 * Makes an {@link Endpointer}: one client per instance, made by `factory` when the instance appears, kept as long as it
 * stays at its address, drained and closed when it leaves. Subscribes to the instancer at once, and leaves it when
 * closed; it does not close it. A factory that fails is tried again with a jittered back-off. The caller closes it.
 */
export function createEndpointer<C>(
  instancer: Instancer,
  factory: Factory<C>,
  options: EndpointerOptions<C> = {},
): Endpointer<C> {
  checkOptions("", { instancer, factory }, { instancer: required(is.instancer), factory: required(is.function) });
  checkOptions("", options, ENDPOINTER_CHECKS);
  return new InstancerEndpointer(instancer, factory, options);
}

/** An instance of the present set, and how far its client is. */
interface Member<C> {
  instance: Instance;
  /** Its place in the set. */
  at: number;
  endpoint?: LiveEndpoint<C>;
  /** Its endpoint is among those that are shown. */
  shown: boolean;
  /** The factory has answered at least once. */
  settled: boolean;
  failures: number;
  cancelRetry?: () => void;
}

class InstancerEndpointer<C> implements Endpointer<C> {
  readonly #closing = closable(() => this.#end());
  readonly close = this.#closing.close;
  readonly [Symbol.asyncDispose] = this.#closing[Symbol.asyncDispose];
  readonly #instancer: Instancer;
  readonly #factory: Factory<C>;
  readonly #close: EndpointerOptions<C>["close"];
  readonly #staleAfterMs: number;
  readonly #drainMs: number;
  readonly #env: Env;
  readonly #backoff: Backoff;
  readonly #ready = new Latch();
  readonly #anyReady = new Latch();
  readonly #drains = new Set<Drain>();
  /** The present set, in the snapshot's order. */
  #members: readonly Member<C>[] = [];
  readonly #byId = new Map<string, Member<C>>();
  #endpoints: readonly LiveEndpoint<C>[] = Object.freeze([]);
  #cancelExpiry: (() => void) | undefined;
  #closed = false;
  readonly #unsubscribe: () => void;

  constructor(instancer: Instancer, factory: Factory<C>, options: EndpointerOptions<C>) {
    this.#instancer = instancer;
    this.#factory = factory;
    this.#close = options.close;
    this.#staleAfterMs = options.staleAfterMs ?? Infinity;
    this.#drainMs = options.drainMs ?? 30_000;
    this.#env = resolveEnv(options.env);
    this.#backoff = fullJitter(this.#env, RECONNECT);
    this.#unsubscribe = instancer.subscribe(() => this.#update());
    this.#update();
  }

  get service(): string {
    return this.#instancer.service;
  }

  get snapshot(): Snapshot {
    return this.#instancer.snapshot;
  }

  get endpoints(): readonly Endpoint<C>[] {
    return this.#endpoints;
  }

  ready({ signal, any }: ReadyOptions = {}): Promise<void> {
    // Waiting for any is what calls do, whose deadlines keep the process alive already.
    if (any === true) return this.#anyReady.wait(signal);
    const letGo = stayAlive(this.#env);
    return this.#ready.wait(signal).finally(letGo);
  }

  /** Follows the snapshot. */
  #update(): void {
    // An instancer that still calls after one has left changes nothing any more.
    if (this.#closed) return;
    const { snapshot } = this;
    this.#cancelExpiry?.();
    this.#cancelExpiry = undefined;
    if (snapshot.state === "pending") return;
    if (snapshot.state === "stale" && this.#staleAfterMs < Infinity) {
      const leftMs = snapshot.staleSinceMs + this.#staleAfterMs - this.#env.now();
      if (leftMs <= 0) return this.#take([]);
      this.#cancelExpiry = this.#env.after(leftMs, () => this.#update());
    }
    this.#take(snapshot.instances);
  }

  /** Makes these instances the present set: keeps, makes and retires. Hardly looks at what has kept its place. */
  #take(instances: readonly Instance[]): void {
    const before = this.#members;
    const members: Member<C>[] = [];
    const added: Member<C>[] = [];
    const isIn = (member: Member<C>): boolean => members[member.at] === member;
    let expected = 0;
    for (const instance of instances) {
      let member = before[expected];
      if (member?.instance !== instance || member.at !== expected) {
        member = this.#byId.get(instance.id);
        // A Cache has no duplicates; an instancer without one may.
        if (member !== undefined && isIn(member)) continue;
        if (member !== undefined && address(member.instance) === address(instance)) {
          expected = Math.max(expected, member.at);
          if (!sameInstance(member.instance, instance)) member.instance = instance;
        } else {
          if (member !== undefined) member.at = -1; // it has left, whatever comes
          member = { instance, at: 0, shown: false, settled: false, failures: 0 };
          added.push(member);
          this.#byId.set(instance.id, member);
          expected--;
        }
      }
      expected++;
      member.at = members.length;
      members.push(member);
    }
    const areAllIn = members.length - added.length === before.length;
    const left = areAllIn ? [] : before.filter((member) => !isIn(member));
    for (const member of left) if (this.#isPresent(member)) this.#byId.delete(member.instance.id);
    this.#members = members;
    for (const member of added) this.#make(member);
    this.#publish();
    for (const member of left) this.#retire(member);
  }

  #isPresent(member: Member<C>): boolean {
    return this.#byId.get(member.instance.id) === member;
  }

  /** Asks the factory for the member's client; publishes by itself only if the answer comes later. */
  #make(member: Member<C>): void {
    // A factory called just before may have changed the set under our feet.
    if (!this.#isPresent(member)) return;
    let made: C | Promise<C>;
    try {
      made = this.#factory(member.instance);
    } catch (error) {
      return this.#makeLater(member, error);
    }
    if (!isPromise(made)) return this.#arrive(member, made);
    // A promise stays itself here; any other thenable can answer only once from now on, and not before this turn is over.
    Promise.resolve(made).then(
      (client) => {
        this.#arrive(member, client);
        this.#publish();
      },
      (error: unknown) => {
        this.#makeLater(member, error);
        this.#publish();
      },
    );
  }

  #arrive(member: Member<C>, client: C): void {
    member.settled = true;
    const endpoint = new LiveEndpoint(member.instance, client);
    if (this.#isPresent(member)) member.endpoint = endpoint;
    else this.#drain(endpoint); // it came too late: the instance has left, or all is closed
  }

  #makeLater(member: Member<C>, error: unknown): void {
    member.settled = true;
    const retryInMs = this.#backoff(++member.failures);
    const { instance } = member;
    channels.factoryFailed.publish({ service: this.service, instance, error, retryInMs });
    if (!this.#isPresent(member)) return;
    member.cancelRetry = this.#env.after(retryInMs, () => {
      this.#make(member);
      this.#publish();
    });
  }

  /** Shows what has changed, if anything has, and whether the first clients are there. */
  #publish(): void {
    const { service } = this;
    const next: LiveEndpoint<C>[] = [];
    const added: Member<C>[] = [];
    let changed = false;
    let settled = true;
    for (const member of this.#members) {
      const { endpoint, instance } = member;
      if (!member.settled) settled = false;
      if (endpoint === undefined) continue;
      if (endpoint.instance !== instance) {
        endpoint.instance = instance;
        changed = true;
      }
      if (!member.shown) added.push(member);
      if (endpoint !== this.#endpoints[next.length]) changed = true;
      next.push(endpoint);
    }
    if (changed || next.length !== this.#endpoints.length) {
      this.#endpoints = Object.freeze(next);
      for (const member of added) {
        member.shown = true;
        channels.endpointAdded.publish({ service, instance: member.instance });
      }
    }
    if (next.length > 0) this.#anyReady.open();
    if (this.snapshot.state === "pending" || !settled) return;
    this.#anyReady.open();
    this.#ready.open();
  }

  #retire(member: Member<C>): void {
    member.cancelRetry?.();
    if (member.endpoint === undefined) return;
    channels.endpointRemoved.publish({ service: this.service, instance: member.instance });
    this.#drain(member.endpoint);
  }

  /** Closes the endpoint's client when its last call has ended, or its time is over. */
  #drain(endpoint: LiveEndpoint<C>): void {
    const drained = Promise.withResolvers<void>();
    const deadline = this.#env.now() + this.#drainMs;
    let cancel: (() => void) | undefined;
    const end = (): void => {
      if (endpoint.onIdle === undefined) return;
      endpoint.onIdle = undefined;
      cancel?.();
      void this.#closeClient(endpoint).then(() => {
        this.#drains.delete(drain);
        drained.resolve();
      });
    };
    const arm = (keepAlive: boolean): void => {
      if (this.#drainMs === Infinity || endpoint.onIdle === undefined) return;
      cancel?.();
      cancel = this.#env.after(Math.max(0, deadline - this.#env.now()), end, { keepAlive });
    };
    const drain: Drain = { ended: drained.promise, await: () => arm(true) };
    this.#drains.add(drain);
    endpoint.onIdle = end;
    if (endpoint.stats.inFlight === 0 || this.#drainMs === 0) end();
    else arm(this.#closed);
  }

  async #closeClient(endpoint: LiveEndpoint<C>): Promise<void> {
    const { service } = this;
    const { client, instance } = endpoint;
    try {
      const closing = this.#close?.(client, instance);
      if (closing !== undefined) {
        const onTimeout = (): TimeoutError => new TimeoutError(`closing the client of ${instance.id}`, CLOSE_MS);
        await bounded(this.#env, { timeoutMs: CLOSE_MS, onTimeout, keepAlive: true }, () => closing);
      }
      channels.endpointClosed.publish({ service, instance });
    } catch (error) {
      channels.closeFailed.publish({ service, instance, error });
    }
  }

  async #end(): Promise<void> {
    this.#closed = true;
    this.#cancelExpiry?.();
    this.#unsubscribe();
    const error = new ClosedError(`the endpointer of service "${this.service}"`);
    this.#ready.fail(error);
    this.#anyReady.fail(error);
    // What drains already, drains on; but now somebody waits for it.
    for (const drain of this.#drains) drain.await();
    this.#take([]);
    await Promise.all([...this.#drains].map((drain) => drain.ended));
  }
}

/** A removed endpoint on its way out. */
interface Drain {
  readonly ended: Promise<void>;
  /** From now on somebody waits for it: its timer keeps the process alive. */
  await(): void;
}

function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return value instanceof Promise || (typeof value === "object" && value !== null && "then" in value);
}
