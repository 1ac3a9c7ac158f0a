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
 * calls repeated: three layers of three retries each make 64 requests of one. Clients see to that, and to the deadline,
 * if they are told what they serve:
 *
 * ```ts
 * import { createServer } from "node:http";
 * import { memoryRegistry } from "@rollcall/core";
 * import { serviceClient } from "@rollcall/http";
 * import { requestDeadline } from "@rollcall/http/server";
 *
 * const lorem = serviceClient(memoryRegistry(), { service: "lorem", sendDeadline: true });
 * const server = createServer(async (incoming, response) => {
 *   const { body } = await lorem.request("/lorem/word/3/10", { incoming });
 *   response.setHeader("x-left-ms", Math.round(requestDeadline(incoming).remainingMs)).end(await body.text());
 * });
 * ```
 */
export function isRetried(request: IncomingRequest): boolean {
  return wholeNumber(request, ATTEMPT_HEADER) >= 2;
}

/** How long the caller of this request still waits. Time runs from the first call with the same request. */
export function requestDeadline(request: IncomingRequest): RequestDeadline {
  let known = deadlines.get(request);
  if (known === undefined) {
    const ms = wholeNumber(request, DEADLINE_HEADER);
    known = { endsAt: performance.now() + (Number.isNaN(ms) ? Infinity : ms), signal: undefined };
    deadlines.set(request, known);
  }
  const remainingMs = Math.max(0, known.endsAt - performance.now());
  // Node's timers take no more than 2^31 - 1 ms, and would fire at once.
  if (remainingMs <= 0x7fff_ffff) known.signal ??= AbortSignal.timeout(Math.ceil(remainingMs));
  return { remainingMs, signal: known.signal };
}

const deadlines = new WeakMap<IncomingRequest, { readonly endsAt: number; signal: AbortSignal | undefined }>();

/** `NaN` for what is none: a header from outside must not break anything. */
function wholeNumber({ headers }: IncomingRequest, name: string): number {
  const value = headers instanceof Headers ? headers.get(name) : headers[name];
  return typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : NaN;
}
