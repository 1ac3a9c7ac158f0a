import type { Attempt } from "@rollcall/core";
import type { Dispatcher } from "undici";
import { type Answer, Exchange, type ExchangeOptions, type Receiver } from "./exchange.ts";
import type { ExchangeRules } from "./exchange-rules.ts";
import { type Failure, classify } from "./failure.ts";
import type { InstancePool } from "./instance-pool.ts";
import { ReplayStream } from "./replay-stream.ts";
import type { PreparedBody } from "./request-body.ts";
import { replaceHeaders } from "./request-headers.ts";
import { Transfer } from "./transfer.ts";

/**
 * An exchange over undici's pools, which let a {@link Transfer} see what was sent and how the body of the response
 * ended. What makes a response of the answer is for those who extend it.
 */
export abstract class PoolExchange<A extends Answer> extends Exchange<InstancePool, A> {
  readonly #request: Dispatcher.DispatchOptions;
  readonly #body: ReplayStream | undefined;
  #transfer: Transfer | undefined;
  /** Of attempts that may run at the same time: their transfers, by their numbers and by their answers. */
  #rivals: Map<number | A, Transfer> | undefined;

  constructor(
    rules: ExchangeRules<InstancePool>,
    options: ExchangeOptions,
    signal: AbortSignal | undefined,
    request: Dispatcher.DispatchOptions,
    body: PreparedBody["content"],
  ) {
    super(rules, request.method, request.path, options, signal);
    this.#request = request;
    this.#body = body instanceof ReplayStream ? body : undefined;
  }

  /** Makes the handler that makes an answer of what arrives. */
  protected abstract handler(method: string, attempt: Attempt, receiver: Receiver<A>): Dispatcher.DispatchHandler;

  protected override send(pool: InstancePool, attempt: Attempt, receiver: Receiver<A>): void {
    const heard = this.hedge ? this.#enter(attempt.number, receiver) : receiver;
    const transfer = new Transfer(this.handler(this.#request.method, attempt, heard));
    this.#transfer = transfer;
    this.#rivals?.set(attempt.number, transfer);
    const chain = this.chainHeaders();
    const request =
      chain === undefined
        ? this.#request
        : { ...this.#request, headers: replaceHeaders(this.#request.headers, chain) ?? null };
    pool.dispatch(request, transfer);
  }

  #enter(number: number, receiver: Receiver<A>): Receiver<A> {
    const rivals = (this.#rivals ??= new Map());
    return {
      answered(answer, attempt) {
        const transfer = rivals.get(number);
        if (transfer !== undefined) rivals.set(answer, transfer);
        receiver.answered(answer, attempt);
      },
      failed: (error, attempt) => receiver.failed(error, attempt),
    };
  }

  protected override classify(error: unknown, attempt: number): Failure {
    if (this.#body?.failedWith(error) === true) return "invalid";
    return classify(error, this.transferOf(attempt)?.started === true);
  }

  protected override get replayable(): boolean {
    return this.#body?.replayable !== false;
  }

  /** A stream has one reader. */
  protected override get mayOverlap(): boolean {
    return this.#body === undefined;
  }

  /** Instead of listening to the attempt's signal: making one would take 15 % of all that a small request costs. */
  protected override cut(reason: unknown, attempt?: number): void {
    this.transferOf(attempt)?.cut(reason);
  }

  protected override hold(attempt: Attempt): void {
    this.transferOf(attempt.number)?.hold(attempt);
  }

  /** A stream that nobody will read on is given up. */
  protected override end(answer?: A): void {
    const body = this.#body;
    if (body === undefined) return;
    if (answer === undefined) body.close();
    else this.transferOf(answer)?.whenEnded(() => body.close());
  }

  protected get body(): ReplayStream | undefined {
    return this.#body;
  }

  /** The transfer of an attempt or of its answer; without either, of the last one. */
  protected transferOf(which?: number | A): Transfer | undefined {
    return which === undefined || this.#rivals === undefined ? this.#transfer : this.#rivals.get(which);
  }
}
