import { isDiscoveryError } from "@rollcall/core";

/** What to tell one's own caller when a call to a service has brought no answer. */
export interface FailureAnswer {
  readonly statusCode: 502 | 503 | 504;
  /** For programs. */
  readonly code: "bad_gateway" | "no_endpoints" | "timeout";
  /** For people. Names the service and no host: where its instances are is nobody's business but one's own. */
  readonly message: string;
  /** When to try again, in whole seconds as in `Retry-After`: where it may soon be better (503). */
  readonly retryAfterSeconds?: number;
}

/**
 * Translates what a client's call rejected with into an HTTP answer: there is no instance, or the client is closed (503);
 * no answer came in time (504); whatever else went wrong on the way (502). Of several attempts the last one counts, as
 * it is the freshest. Takes the errors of `@rollcall/http` and `@rollcall/http/fetch`, and those of others that have one
 * as their `cause`, such as axios's. For an error that has nothing to do with a call it says 502: do not ask it then.
 *
 * ```ts
 * import { createServer } from "node:http";
 * import { memoryRegistry } from "@rollcall/core";
 * import { failureAnswer, serviceClient } from "@rollcall/http";
 *
 * const lorem = serviceClient(memoryRegistry(), "lorem");
 * const server = createServer(async (_, response) => {
 *   try {
 *     response.end(await (await lorem.request("/word")).body.text());
 *   } catch (error) {
 *     const { statusCode, code, message, retryAfterSeconds } = failureAnswer(error, "lorem");
 *     if (retryAfterSeconds !== undefined) response.setHeader("retry-after", retryAfterSeconds);
 *     response.writeHead(statusCode, { "content-type": "application/json" }).end(JSON.stringify({ code, message }));
 *   }
 * });
 * ```
 */
export function failureAnswer(error: unknown, service: string): FailureAnswer {
  const chain = causes(error);
  // Where a call waits for an instance until its time is over, the time-out is the symptom, and this the reason.
  if (chain.some((one) => isDiscoveryError(one, "NO_ENDPOINTS") || isDiscoveryError(one, "CLOSED"))) {
    const message = `no instance of "${service}" is available`;
    return { statusCode: 503, code: "no_endpoints", message, retryAfterSeconds: 1 };
  }
  if (chain.some(isTimeout)) {
    return { statusCode: 504, code: "timeout", message: `"${service}" did not answer in time` };
  }
  return { statusCode: 502, code: "bad_gateway", message: `"${service}" could not be reached, or broke off` };
}

/** The error, its cause, the cause of that, …: a `RetryError`'s is the error of its last attempt. */
function causes(error: unknown): readonly unknown[] {
  const chain: unknown[] = [];
  for (let one = error; typeof one === "object" && one !== null && !chain.includes(one);) {
    chain.push(one);
    one = Reflect.get(one, "cause");
  }
  return chain;
}

function isTimeout(error: unknown): boolean {
  if (typeof error !== "object" || error === null) return false;
  const { code, name } = error as { readonly code?: unknown; readonly name?: unknown };
  return isDiscoveryError(error, "TIMEOUT") || name === "TimeoutError" || TIMEOUTS.has(code);
}

const TIMEOUTS: ReadonlySet<unknown> = new Set([
  "UND_ERR_HEADERS_TIMEOUT",
  "UND_ERR_BODY_TIMEOUT",
  "UND_ERR_CONNECT_TIMEOUT",
  "ETIMEDOUT",
]);
