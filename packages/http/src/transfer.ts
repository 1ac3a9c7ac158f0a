import type { Duplex } from "node:stream";
import { type Attempt, CANCELLED, type Outcome, SUCCESS } from "@rollcall/core";
import type { Dispatcher } from "undici";
import { anyServed } from "./call-chain.ts";
import { isOwnAbort } from "./failure.ts";
import { ServedHandler } from "./served-handler.ts";
import { destroyBody } from "./unread-body.ts";

/**
 * One attempt on the wire: from the hand-over to undici until the last byte of the response.
 *
 * It stands between undici and the handler that makes a response of what arrives, and knows what neither tells the
 * caller: whether the request was begun to be written at all, and when and how the response body ended. That end is
 * what gives the endpoint's slot back, so that a body counts as load until all of it has arrived (not until it is
 * read: by then the server has long been done).
 */
export class Transfer implements Dispatcher.DispatchHandler {
  /** Whether undici has begun to write the request. As long as it is false, not a byte has left, nor ever will. */
  started = false;
  readonly #inner: Dispatcher.DispatchHandler;
  #controller: Dispatcher.DispatchController | undefined;
  #abortedWith: { readonly reason: Error } | undefined;
  #answered = false;
  #failed = false;
  #outcome: Outcome | undefined;
  #onEnd: ((outcome: Outcome) => void) | undefined;

  /** `inner` makes a response of what arrives. */
  constructor(inner: Dispatcher.DispatchHandler) {
    this.#inner = anyServed() ? new ServedHandler(inner) : inner;
  }

  /** Ends the attempt from this side. A request that has not been begun yet will not be. */
  abort(reason: unknown): void {
    // The type wants an Error; undici passes on whatever it is, and so an abort reason arrives as it was given.
    const given = reason as Error;
    this.#abortedWith ??= { reason: given };
    this.#controller?.abort(given);
  }

  /** The same, if there is no answer yet, and it has not failed by itself: nobody is to think that it was aborted. */
  cut(reason: unknown): void {
    if (!this.#answered && !this.#failed) this.abort(reason);
  }

  /**
   * Keeps the attempt's slot taken until the body has ended. Called when the head is here; a short answer has arrived
   * whole by then, and is left to the attempt itself.
   */
  hold(attempt: Attempt): void {
    if (this.#outcome?.kind !== "success") this.whenEnded(attempt.hold());
  }

  /** Calls `listener` when the response body has ended in one way or another, at once if it has already. */
  whenEnded(listener: (outcome: Outcome) => void): void {
    if (this.#outcome !== undefined) {
      listener(this.#outcome);
      return;
    }
    const before = this.#onEnd;
    this.#onEnd =
      before === undefined
        ? listener
        : (outcome) => {
            before(outcome);
            listener(outcome);
          };
  }

  /** Lets an abort of the caller's signal end the body too. The listener leaves with the last byte. */
  follow(signal: AbortSignal, body: Dispatcher.ResponseData["body"]): void {
    if (this.#outcome !== undefined) return;
    const onAbort = (): void => destroyBody(body, signal.reason);
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener("abort", onAbort);
    this.whenEnded(() => signal.removeEventListener("abort", onAbort));
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    if (this.#abortedWith !== undefined) {
      controller.abort(this.#abortedWith.reason);
      return;
    }
    this.started = true;
    this.#controller = controller;
    this.#inner.onRequestStart?.(controller, context);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: Parameters<NonNullable<Dispatcher.DispatchHandler["onResponseStart"]>>[2],
    statusMessage?: string,
  ): void {
    if (statusCode >= 200) this.#answered = true;
    try {
      this.#inner.onResponseStart?.(controller, statusCode, headers, statusMessage);
    } catch (error) {
      throw this.#readerFailed(error);
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    try {
      this.#inner.onResponseData?.(controller, chunk);
    } catch (error) {
      throw this.#readerFailed(error);
    }
  }

  /** The connection is the caller's now. It is load until it closes. */
  onRequestUpgrade(
    controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: Parameters<NonNullable<Dispatcher.DispatchHandler["onResponseStart"]>>[2],
    socket: Duplex,
  ): void {
    this.#answered = true;
    socket.once("close", () => this.#end(SUCCESS));
    try {
      this.#inner.onRequestUpgrade?.(controller, statusCode, headers, socket);
    } catch (error) {
      throw this.#readerFailed(error);
    }
  }

  onResponseStarted(): void {
    this.#inner.onResponseStarted?.();
  }

  onBodySent(chunk: Buffer): void {
    this.#inner.onBodySent?.(chunk);
  }

  onRequestSent(): void {
    this.#inner.onRequestSent?.();
  }

  onResponseEnd(
    controller: Dispatcher.DispatchController,
    trailers: Parameters<NonNullable<Dispatcher.DispatchHandler["onResponseEnd"]>>[1],
  ): void {
    try {
      this.#inner.onResponseEnd?.(controller, trailers);
    } finally {
      // It has arrived, whatever the reader makes of it.
      this.#end(SUCCESS);
    }
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    this.#failed = true;
    this.#inner.onResponseError?.(controller, error);
    // Before the head the attempt itself fails with this error, and that is what ends it.
    if (this.#answered)
      this.#end(isOwnAbort(error) || this.#abortedWith !== undefined ? CANCELLED : { kind: "failure", error });
  }

  /** Whatever a reader throws ends the response, and is not the endpoint's fault. */
  #readerFailed(error: unknown): unknown {
    this.#abortedWith ??= { reason: error as Error };
    return error;
  }

  #end(outcome: Outcome): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = outcome;
    this.#onEnd?.(outcome);
    this.#onEnd = undefined;
  }
}
