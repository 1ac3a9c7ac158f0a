import { inspect } from "node:util";

/** What a failed request is answered with. The body is JSON: `{"error": "…"}`. */
export interface ErrorAnswer {
  readonly status: number;
  readonly body: { readonly error: string };
}

/**
 * What to tell the caller about an error. One that carries a client's status (400…499) was made for the caller, its
 * message too; of any other only the fact is told, since its message may name what is none of the caller's business. It
 * is written to stderr instead.
 */
export function errorAnswer(error: unknown): ErrorAnswer {
  const status: unknown = error instanceof Error ? Reflect.get(error, "status") : undefined;
  if (error instanceof Error && typeof status === "number" && status >= 400 && status < 500) {
    return { status, body: { error: error.message } };
  }
  process.stderr.write(`${inspect(error)}\n`);
  return { status: 500, body: { error: "internal error" } };
}

/** The error for a method and path that lead nowhere. */
export function notFound(method: string, path: string): Error {
  return Object.assign(new Error(`Cannot ${method} ${path}`), { status: 404 });
}
