import { InvalidOptionError } from "@rollcall/core";

/** Upper case for the usual methods, as `fetch` does; the others are case-sensitive and stay as they are. */
export function normalizeMethod(method = "GET"): string {
  if (METHODS.has(method)) return method;
  if (typeof method !== "string") throw new InvalidOptionError("method", "an HTTP method", method);
  const upper = method.toUpperCase();
  return METHODS.has(upper) ? upper : method;
}

const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]);
