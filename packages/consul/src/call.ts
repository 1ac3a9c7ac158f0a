import { EventEmitter } from "node:events";
import type { Agent, IncomingHttpHeaders } from "node:http";
import { type Env, TimeoutError } from "@rollcall/core";
import { AnswerBody } from "./answer-body.ts";
import type { ConsulApi } from "./client.ts";
import type { Turns } from "./turns.ts";

/** One half's way to Consul: a client, and what goes with each of its requests. */
export interface ConsulAccess {
  readonly api: ConsulApi;
  readonly token?: string | undefined;
  readonly namespace?: string | undefined;
  /** The sockets of this half, if they are not the client's own. */
  readonly agent?: Agent | undefined;
  /** If it limits how many requests it has at a time. The others wait, and that is no part of their time-out. */
  readonly turns?: Turns | undefined;
  /** A longer answer is refused while it arrives. */
  readonly maxAnswerBytes: number;
  readonly env: Env;
}

export interface ConsulCall {
  /** Below `/v1`, with `{names}` that are taken from `params` and encoded. */
  readonly path: string;
  readonly params?: Readonly<Record<string, string>> | undefined;
  readonly query?: Readonly<Record<string, string | undefined>> | undefined;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** For everything: connecting, waiting, and reading the answer to its end. */
  readonly timeoutMs: number;
}

export interface ConsulAnswer {
  readonly headers: IncomingHttpHeaders;
  /** All of it. */
  readonly body: AnswerBody;
}

/** Consul refused, could not be reached, or said what cannot be understood. `cause` is the error below, if any. */
export class ConsulError extends Error {
  override readonly name = "ConsulError";
  /** The HTTP status, if Consul answered. */
  readonly statusCode: number | undefined;

  constructor(message: string, options: { readonly cause?: unknown; readonly statusCode?: number | undefined } = {}) {
    super(`consul: ${message}`, { cause: options.cause });
    this.statusCode = options.statusCode;
  }
}

/** A connection that is closed sooner than this was most likely never served. */
const REFUSED_WITHIN_MS = 1_000;

/**
 * One request through the vendor's client, with what the client leaves out: it ends at once when `signal` aborts
 * (rejecting with `signal.reason`, the socket is closed), when the body is cut off or longer than allowed, and after
 * `timeoutMs` at the latest. It does not keep the process alive: whoever awaits it does.
 *
 * @throws ConsulError with the answer's status and text unless it is 2xx; `TimeoutError` when the time is over.
 */
export async function call(
  access: ConsulAccess,
  method: "GET" | "PUT",
  request: ConsulCall,
  signal: AbortSignal,
): Promise<ConsulAnswer> {
  signal.throwIfAborted();
  const { api, env } = access;
  const what = `${method} ${request.path.replace(/\{(\w+)\}/g, (_, name: string) => request.params?.[name] ?? "")}`;
  const endTurn = await access.turns?.take(signal);
  const startedMs = env.now();
  const ctx = new EventEmitter();
  let failure: Error | undefined;
  const fail = (error: Error): void => {
    failure ??= error;
    ctx.emit("cancel");
  };
  const body = new AnswerBody(access.maxAnswerBytes, (message) => fail(new ConsulError(`${what}: ${message}`)));
  const onAbort = (): void => void ctx.emit("cancel");
  signal.addEventListener("abort", onAbort);
  const cancelTimer = env.after(request.timeoutMs, () => {
    fail(new TimeoutError(`consul: ${what}`, request.timeoutMs));
  });
  try {
    // It may have been aborted between getting the turn and hearing of it.
    signal.throwIfAborted();
    const token = access.token ?? api._defaults?.token;
    const { headers } = await api[method === "GET" ? "_get" : "_put"]({
      path: request.path,
      params: { ...request.params },
      query: given({ ...request.query, ns: access.namespace }),
      headers: given({ "x-consul-token": token }),
      ...(request.body === undefined ? {} : { body: request.body, type: "json" }),
      ...(access.agent === undefined ? {} : { agent: access.agent }),
      timeout: 0,
      ctx,
      pipe: body,
    });
    return { headers, body };
  } catch (error) {
    signal.throwIfAborted();
    throw failure ?? explain(what, error, body.text, env.now() - startedMs);
  } finally {
    cancelTimer();
    signal.removeEventListener("abort", onAbort);
    endTurn?.();
  }
}

/** Parses an answer's text. @throws ConsulError that shows the beginning of what is not JSON (a proxy's page, say). */
export function parseAnswer(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ConsulError(`the answer is not JSON: ${excerpt(text)}`, { cause });
  }
}

function explain(what: string, error: unknown, text: string, elapsedMs: number): Error {
  if (has(error, "isResponse", true)) {
    const statusCode = (error as { readonly statusCode?: number }).statusCode;
    return new ConsulError(`${what}: answered ${statusCode}${text.trim() === "" ? "" : `: ${excerpt(text)}`}`, {
      cause: error,
      statusCode,
    });
  }
  // The client puts its own name before each message; a refused "localhost" has a code, but no message.
  const message = (error instanceof Error ? error.message : String(error)).replace(/^consul: ?/, "");
  const code = error instanceof Error && "code" in error ? String(error.code) : "failed";
  const hint =
    has(error, "code", "ECONNRESET") && elapsedMs < REFUSED_WITHIN_MS
      ? " (if Consul is up, this may be its limit of connections per client address, limits.http_max_conns_per_client," +
        " 200 by default, which all processes of this host share: share one registry in each, lower its maxConnections," +
        " or raise the limit)"
      : "";
  return new ConsulError(`${what}: ${message === "" ? code : message}${hint}`, { cause: error });
}

function has(error: unknown, key: string, value: unknown): boolean {
  return typeof error === "object" && error !== null && Reflect.get(error, key) === value;
}

function excerpt(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > 200 ? `${line.slice(0, 200)}…` : line;
}

/** Without the members that are undefined, which the client would send as empty. */
function given(record: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(record).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
