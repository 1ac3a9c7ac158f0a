import { InvalidOptionError } from "@rollcall/core";

/** Statuses whose responses have no body (Fetch standard, "null body status"). */
export const NULL_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/** Throws `InvalidOptionError` for a body that the method cannot have. */
export function checkBody(method: string, body: unknown): void {
  if (body !== undefined && body !== null && (method === "GET" || method === "HEAD")) {
    throw new InvalidOptionError("body", `no body for ${method}`, body);
  }
}

/** Whether the body is gone once it has been sent. */
export function isStream(body: unknown): body is AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  if (typeof body !== "object" || body === null || ArrayBuffer.isView(body)) return false;
  if (body instanceof URLSearchParams || body instanceof FormData || body instanceof Blob) return false;
  return Symbol.asyncIterator in body || (Symbol.iterator in body && !Array.isArray(body));
}

/** Gives a response that was made what only those have that were fetched. */
export function fetched(made: Response, url: string, redirected: boolean): Response {
  return Object.defineProperties(made, {
    url: { value: url, enumerable: true },
    redirected: { value: redirected, enumerable: true },
  });
}
