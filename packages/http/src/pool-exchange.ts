import type { Attempt } from "@rollcall/core";
import { type Answer, Exchange, type ExchangeOptions, type ExchangeRules, type Told } from "./exchange.ts";
import { type Failure, classify } from "./failure.ts";
import type { InstancePool } from "./instance-pool.ts";
import { ReplayStream } from "./replay-stream.ts";
import type { PreparedBody } from "./request-body.ts";
import { replaceHeaders } from "./request-headers.ts";
import { Transfer, type TransferOptions } from "./transfer.ts";

/**
 * An exchange over undici's pools, which let a {@link Transfer} see what was sent and how the body of the response
 * ended. What makes a response of the answer is for those who extend it.
 */
export abstract class PoolExchange<A extends Answer> extends Exchange<InstancePool, A> {
  readonly #request: TransferOptions;
  readonly #body: ReplayStream | undefined;
  #transfer: Transfer | undefined;
  /** Of attempts that may run at the same time: their transfers, by their numbers and by their answers. */
  #rivals: Map<number | A, Transfer> | undefined;

  constructor(
    rules: ExchangeRules<InstancePool>,
    options: ExchangeOptions,
    request: TransferOptions,
    body: PreparedBody["content"],
  ) {
    super(rules, options);
    this.#request = request;
    this.#body = body instanceof ReplayStream ? body : undefined;
  }

  /** Hands the request to a pool, and tells when the head is here. */
  protected abstract sendTo(pool: InstancePool, request: TransferOptions, attempt: Attempt, told: Told<A>): void;

  protected override send(pool: InstancePool, attempt: Attempt, told: Told<A>): void {
    const transfer = new Transfer();
    this.#transfer = transfer;
    this.#request.transfer = transfer;
    const chain = this.chainHeaders();
    const request =
      chain === undefined
        ? this.#request
        : { ...this.#request, headers: replaceHeaders(this.#request.headers, chain) ?? null };
    this.sendTo(pool, request, attempt, this.hedged ? this.#enter(attempt.number, transfer, told) : told);
  }

  #enter(number: number, transfer: Transfer, { answered, failed }: Told<A>): Told<A> {
    const rivals = (this.#rivals ??= new Map());
    rivals.set(number, transfer);
    return {
      answered: (answer) => {
        rivals.set(answer, transfer);
        answered(answer);
      },
      failed,
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
