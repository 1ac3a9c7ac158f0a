import type { Attempt, Instance, Outcome } from "@rollcall/core";
import { classifyBuiltIn, isBadPort } from "./built-in-failure.ts";
import { type Answer, Exchange, type ExchangeOptions, type Receiver } from "./exchange.ts";
import type { ExchangeRules } from "./exchange-rules.ts";
import type { Failure } from "./failure.ts";
import { ReplayStream } from "./replay-stream.ts";
import type { ResponseHeaders } from "./status-error.ts";
import { dump, trackedBody } from "./tracked-body.ts";

/** A request for the built-in fetch, to whichever instance. */
export interface BuiltInRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  /** Everything but method, body, redirect and signal. */
  readonly init: RequestInit;
  readonly body: RequestInit["body"] | ReplayStream;
}

/** What an instance has answered by the built-in fetch. */
export class BuiltInAnswer implements Answer {
  readonly response: Response;
  readonly instance: Instance;
  #tracked: ReadableStream<Uint8Array> | null | undefined;

  constructor(response: Response, instance: Instance) {
    this.response = response;
    this.instance = instance;
  }

  get body(): ReadableStream<Uint8Array> | null {
    return this.#tracked ?? this.response.body;
  }

  /**
   * Tells how the body ends. The caller gets no other body than a tracked one: the built-in fetch cancels one that nobody
   * has begun to read when its response is collected, and that response is gone with this answer.
   */
  track(signal: AbortSignal | undefined, onEnd: (outcome: Outcome) => void): void {
    if (this.#tracked !== undefined || this.response.body === null) return;
    this.#tracked = trackedBody(this.response.body, signal, onEnd);
  }

  get statusCode(): number {
    return this.response.status;
  }

  get headers(): ResponseHeaders {
    return Object.fromEntries(this.response.headers);
  }

  /** Gives it up: nobody gets it. */
  drop(): void {
    void dump(this.body);
  }
}

/** An exchange by the built-in fetch. Its clients are the base URLs of the instances. */
export class BuiltInExchange extends Exchange<string, BuiltInAnswer> {
  readonly #fetch: typeof fetch;
  readonly #request: BuiltInRequest;
  readonly #body: ReplayStream | undefined;

  constructor(rules: ExchangeRules<string>, builtIn: typeof fetch, request: BuiltInRequest, options: ExchangeOptions) {
    super(rules, request.method, request.target, options, options.signal);
    this.#fetch = builtIn;
    this.#request = request;
    this.#body = request.body instanceof ReplayStream ? request.body : undefined;
  }

  protected override send(base: string, attempt: Attempt, receiver: Receiver<BuiltInAnswer>): void {
    this.#ask(base, attempt).then(
      (answer) => receiver.answered(answer, attempt),
      (error: unknown) => receiver.failed(error, attempt),
    );
  }

  async #ask(base: string, attempt: Attempt): Promise<BuiltInAnswer> {
    const { method, target, init, body } = this.#request;
    const url = base + target;
    // The attempt's signal falls silent with the head; the caller's holds for the body too.
    const signal = this.signal === undefined ? attempt.signal : AbortSignal.any([attempt.signal, this.signal]);
    const chain = this.chainHeaders() ?? [];
    const headers = new Headers(init.headers);
    for (let at = 0; at < chain.length; at += 2) headers.set(chain[at] ?? "", chain[at + 1] ?? "");
    const content = body instanceof ReplayStream ? ReadableStream.from<Uint8Array>(encoded(body)) : body;
    try {
      const request = {
        ...init,
        headers,
        method,
        signal,
        redirect: "manual",
        body: content ?? null,
        duplex: "half",
      } as const;
      return new BuiltInAnswer(await this.#fetch(url, request), attempt.endpoint.instance);
    } catch (error) {
      throw isBadPort(error) ? badPort(base, error) : error;
    }
  }

  protected override classify(error: unknown): Failure {
    const isBodys = (one: unknown): boolean => this.#body?.failedWith(one) === true;
    if (isBodys(error) || (error instanceof Error && isBodys(error.cause))) return "invalid";
    return classifyBuiltIn(error);
  }

  protected override get replayable(): boolean {
    return this.#body?.replayable !== false;
  }

  protected override get mayOverlap(): boolean {
    return this.#body === undefined;
  }

  /** The attempt's signal does it. */
  protected override cut(): void {}

  protected override hold(attempt: Attempt, answer: BuiltInAnswer): void {
    if (answer.body !== null) answer.track(this.signal, attempt.hold());
  }

  protected override drop(answer: BuiltInAnswer): void {
    answer.drop();
  }

  protected override lose(answer: BuiltInAnswer): void {
    answer.drop();
  }

  protected override end(answer?: BuiltInAnswer): void {
    if (answer === undefined) this.#body?.close();
    else answer.track(this.signal, () => undefined);
  }
}

async function* encoded(body: ReplayStream): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of body) yield typeof chunk === "string" ? Buffer.from(chunk) : chunk;
}

function badPort(base: string, cause: unknown): Error {
  const message =
    `${base} is never asked by fetch: the Fetch standard blocks its port. ` +
    "Give the instance another one, or use httpClient of @rollcall/http";
  return Object.assign(new Error(message, { cause }), { code: "ROLLCALL_BAD_PORT" });
}
