import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe } from "node:diagnostics_channel";
import { InvalidOptionError } from "@rollcall/core";

/** A request that came in, as far as it matters here: Node's, Express's, Fastify's `raw`, or a standard `Request`. */
export interface IncomingRequest {
  readonly headers: Readonly<Record<string, string | string[] | undefined>> | Headers;
}

/** Says, from 2 on, which attempt this is, where the earlier ones may have reached a server. */
export const ATTEMPT_HEADER = "x-rollcall-attempt";

/** Says in how many milliseconds the caller will have given up. Relative: no two clocks have to agree. */
export const DEADLINE_HEADER = "x-rollcall-deadline-ms";

/** How much time is left for a request, and a signal for when there is none. */
export interface RequestDeadline {
  /** Of the time that the caller had left when the request was first asked about. `Infinity` if the caller said nothing. */
  readonly remainingMs: number;
  /** Aborts with a `TimeoutError` when the time is over; keeps no process alive. `undefined` if the caller said nothing. */
  readonly signal: AbortSignal | undefined;
}

/**
 * Whether this request was sent before, to a server that may have seen it. Whoever serves one should not have its own
 * calls repeated: three layers of three attempts each make 27 requests of one. {@link whileServing} sees to that.
 */
export function isRetried(request: IncomingRequest): boolean {
  return wholeNumber(request, ATTEMPT_HEADER) >= 2;
}

/** How long the caller of this request still waits. Time runs from the first call with the same request. */
export function requestDeadline(request: IncomingRequest): RequestDeadline {
  const known = deadlineOf(request);
  const leftMs = remainingMs(request);
  // Node's timers take no more than 2^31 - 1 ms, and would fire at once.
  if (leftMs <= 0x7fff_ffff) known.signal ??= AbortSignal.timeout(Math.ceil(leftMs));
  return { remainingMs: leftMs, signal: known.signal };
}

/**
 * Runs `run`, and returns what it returns. Every request that a client of `@rollcall/http` or `@rollcall/http/fetch`
 * sends inside of it, also later and in callbacks, serves `request`: it ends with that one's deadline, and if that one was
 * repeated, it is not, except for what has not left. A call's own `incoming` comes first; `incoming: false` serves none.
 *
 * ```ts
 * import { createServer } from "node:http";
 * import { memoryRegistry } from "@rollcall/core";
 * import { serviceClient } from "@rollcall/http";
 * import { whileServing } from "@rollcall/http/server";
 *
 * const lorem = serviceClient(memoryRegistry(), { service: "lorem", sendDeadline: true });
 * const server = createServer((request, response) =>
 *   whileServing(request, async () => {
 *     const { body } = await lorem.request("/lorem/word/3/10");
 *     response.end(await body.text());
 *   }),
 * );
 * ```
 *
 * What is begun before the answer has gone out may outlive it, until the deadline; nothing is cut off because the
 * request has ended or was aborted. What is begun after that is no part of it any more (as far as it is one of
 * `node:http`: of others only the deadline is known): a timer or a refresh that a request has started goes on freely.
 * `whileServing(undefined, run)` leaves the request that is being served. Costs nothing for requests that carry neither
 * header.
 *
 * @throws InvalidOptionError
 */
export function whileServing<T>(request: IncomingRequest | undefined, run: () => T): T {
  const binds =
    request !== undefined && isRequest(request, "request") && (isRetried(request) || remainingMs(request) !== Infinity);
  if (!binds && beingServed() === undefined) return run();
  scope ??= createScope();
  return scope.run(binds ? request : undefined, run);
}

/** What a call serves: what it says itself, or else what surrounds it. Throws `InvalidOptionError`. */
export function servedBy(incoming: IncomingRequest | false | undefined): IncomingRequest | undefined {
  if (incoming === undefined) return beingServed();
  return incoming !== false && isRequest(incoming, "incoming") ? incoming : undefined;
}

/** Throws for what has no headers, which would else fail each call without saying why. */
function isRequest(value: IncomingRequest, path: string): true {
  const headers: unknown = Reflect.get(Object(value), "headers");
  if (typeof headers === "object" && headers !== null) return true;
  throw new InvalidOptionError(path, "the request that is being served", value);
}

/** The request of the surrounding {@link whileServing}, unless it has been answered. */
export function beingServed(): IncomingRequest | undefined {
  const request = scope?.getStore();
  return request === undefined || answered.has(request) ? undefined : request;
}

/** Whether there may be a surrounding request: in callbacks of connections it may be that of somebody else. */
export function anyServed(): boolean {
  return scope !== undefined;
}

/** Of the time that the caller had left when the request was first asked about. */
export function remainingMs(request: IncomingRequest): number {
  const { endsAt } = deadlineOf(request);
  return endsAt === Infinity ? Infinity : Math.max(0, endsAt - performance.now());
}

/** Made when it is first needed: where it is made of async hooks (Node 22), it costs every promise of the process. */
let scope: AsyncLocalStorage<IncomingRequest | undefined> | undefined;

/** Requests of `node:http` whose answer has gone out whole. */
const answered = new WeakSet<object>();

function createScope(): AsyncLocalStorage<IncomingRequest | undefined> {
  // A response that breaks off is not among them: who went on working for nobody is still to be stopped.
  subscribe("http.server.response.finish", (message) => {
    answered.add((message as { readonly request: object }).request);
  });
  return new AsyncLocalStorage();
}

interface KnownDeadline {
  readonly endsAt: number;
  signal: AbortSignal | undefined;
}

const deadlines = new WeakMap<IncomingRequest, KnownDeadline>();

function deadlineOf(request: IncomingRequest): KnownDeadline {
  let known = deadlines.get(request);
  if (known === undefined) {
    const ms = wholeNumber(request, DEADLINE_HEADER);
    known = { endsAt: Number.isNaN(ms) ? Infinity : performance.now() + ms, signal: undefined };
    deadlines.set(request, known);
  }
  return known;
}

/** `NaN` for what is none: a header from outside must not break anything. */
function wholeNumber({ headers }: IncomingRequest, name: string): number {
  const value = headers instanceof Headers ? headers.get(name) : headers[name];
  return typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : NaN;
}
