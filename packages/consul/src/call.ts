import { EventEmitter } from "node:events";
import type { Agent, IncomingHttpHeaders } from "node:http";
import { type Agenda, type Appointment, type Env, TimeoutError, type Turn, type Turns } from "@rollcall/core";
import { AnswerBody } from "./answer-body.ts";
import type { ConsulApi } from "./client.ts";
import type { Asker, PlainGet } from "./plain-get.ts";

/** One half's way to Consul: a client, and what goes with each of its requests. */
export interface ConsulAccess {
  readonly api: ConsulApi;
  /** For reading, instead of the client's own verb. */
  readonly get?: PlainGet | undefined;
  readonly token?: string | undefined;
  readonly namespace?: string | undefined;
  /** The sockets of this half, if they are not the client's own. */
  readonly agent?: Agent | undefined;
  /** If it limits how many requests it has at a time. The others wait, and that is no part of their time-out. */
  readonly turns?: Turns | undefined;
  /** A longer answer is refused while it arrives. */
  readonly maxAnswerBytes: number;
  /** For the time-outs of all requests. */
  readonly agenda: Agenda;
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
  /** Is ended with the request. */
  readonly turn?: Pick<Turn, "end"> | undefined;
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
 * One request, with what the vendor's client leaves out: it ends at once when `signal` aborts (rejecting with
 * `signal.reason`, the socket is closed), when the body is cut off or longer than allowed, and after `timeoutMs` at the
 * latest. It does not keep the process alive: whoever awaits it does.
 *
 * @throws ConsulError with the answer's status and text unless it is 2xx; `TimeoutError` when the time is over.
 */
export function call(
  access: ConsulAccess,
  method: "GET" | "PUT",
  request: ConsulCall,
  signal: AbortSignal,
): Promise<ConsulAnswer> {
  const send = (turn: ConsulCall["turn"]): Promise<ConsulAnswer> =>
    new Promise((resolve, reject) => {
      const path = request.path.replace(/\{(\w+)\}/g, (_, name: string) => request.params?.[name] ?? "");
      const what = [method, path].join(" "); // flat, where a template keeps its parts
      new PendingCall(access, what, request.timeoutMs, signal, resolve, reject).send(method, { ...request, turn });
    });
  if (access.turns === undefined) return send(request.turn);
  return access.turns.take(signal).then(send);
}

/** A request, until it has ended. A poll is under way as long as it is watched: this is what it holds of ours. */
class PendingCall implements Appointment, Asker {
  readonly #access: ConsulAccess;
  /** For messages. */
  readonly #what: string;
  readonly #timeoutMs: number;
  readonly #signal: AbortSignal;
  readonly #resolve: (answer: ConsulAnswer) => void;
  readonly #reject: (error: unknown) => void;
  readonly #startedMs: number;
  #asked: { destroy(): unknown } | undefined;
  #body: AnswerBody | undefined;
  #turn: ConsulCall["turn"];
  #isOver = false;
  dueMs = 0;

  constructor(
    access: ConsulAccess,
    what: string,
    timeoutMs: number,
    signal: AbortSignal,
    resolve: (answer: ConsulAnswer) => void,
    reject: (error: unknown) => void,
  ) {
    this.#access = access;
    this.#what = what;
    this.#timeoutMs = timeoutMs;
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#startedMs = access.env.now();
  }

  send(method: "GET" | "PUT", { path, params = {}, query, body, turn }: ConsulCall): void {
    this.#turn = turn;
    // It may have been aborted between getting the turn and hearing of it.
    if (this.#signal.aborted) return this.#fail(this.#signal.reason);
    this.#signal.addEventListener("abort", this);
    this.#access.agenda.enter(this, this.#timeoutMs);
    const { api, get, agent, namespace } = this.#access;
    const request = {
      path,
      params: { ...params },
      query: given({ ...query, ns: namespace }),
      headers: given({ "x-consul-token": this.#access.token ?? api._defaults?.token }),
    };
    if (method === "GET" && get !== undefined) {
      this.#asked = get(request, this);
      return;
    }
    const ctx = new EventEmitter();
    this.#asked = { destroy: () => ctx.emit("cancel") };
    api[method === "GET" ? "_get" : "_put"]({
      ...request,
      ...(body === undefined ? {} : { body, type: "json" }),
      ...(agent === undefined ? {} : { agent }),
      timeout: 0,
      ctx,
      pipe: this.body(),
    }).then(
      ({ headers }) => this.answered(headers),
      (error: unknown) => this.failed(error),
    );
  }

  body(): AnswerBody {
    const fail = (message: string): void => this.#fail(new ConsulError(`${this.#what}: ${message}`));
    return (this.#body ??= new AnswerBody(this.#access.maxAnswerBytes, fail));
  }

  answered(headers: IncomingHttpHeaders): void {
    if (!this.#isOver) this.#resolve({ headers, body: this.body() });
    this.#end();
  }

  failed(error: unknown): void {
    const elapsedMs = this.#access.env.now() - this.#startedMs;
    if (!this.#isOver) this.#reject(explain(this.#what, error, this.#body?.text ?? "", elapsedMs));
    this.#end();
  }

  /** Of the agenda: the time is over. */
  keep(): void {
    this.#fail(new TimeoutError(`consul: ${this.#what}`, this.#timeoutMs));
  }

  /** Of the signal: it was aborted. */
  handleEvent(): void {
    this.#fail(this.#signal.reason);
  }

  /** Gives it up. */
  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#reject(error);
    this.#end();
    this.#asked?.destroy();
  }

  #end(): void {
    this.#isOver = true;
    this.#access.agenda.leave(this);
    this.#signal.removeEventListener("abort", this);
    this.#turn?.end();
    this.#turn = undefined;
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
