import type { Duplex } from "node:stream";
import type { Attempt } from "@rollcall/core";
import { type Dispatcher, errors } from "undici";
import type { Answer, Receiver } from "./exchange.ts";
import type { Relay } from "./relay.ts";
import type { ResponseHeaders } from "./status-error.ts";

/**
 * The answer to one attempt, on its way to the handler of whoever dispatched the request.
 *
 * It is passed on as it comes, unless its status is a failing one: then it is held back, by asking the connection to
 * pause, until it is {@link release}d or {@link drop}ped.
 */
export class RelayedAnswer implements Dispatcher.DispatchHandler, Answer {
  statusCode = 0;
  headers: ResponseHeaders = {};
  readonly #relay: Relay;
  readonly #failureStatuses: ReadonlySet<number>;
  readonly #attempt: Attempt;
  readonly #receiver: Receiver<RelayedAnswer>;
  #state: "waiting" | "passing" | "held" | "dropped" = "waiting";
  #controller: Dispatcher.DispatchController | undefined;
  #statusMessage: string | undefined;
  /** What came although the connection was asked to pause: a part that was read already, or its end. */
  #held: (() => void)[] | undefined;
  #dropped = 0;

  constructor(relay: Relay, failureStatuses: ReadonlySet<number>, attempt: Attempt, receiver: Receiver<RelayedAnswer>) {
    this.#relay = relay;
    this.#failureStatuses = failureStatuses;
    this.#attempt = attempt;
    this.#receiver = receiver;
  }

  /** Passes on an answer that was held back. Does nothing to others. */
  release(): void {
    if (this.#state !== "held") return;
    this.#relay.answered = true;
    try {
      this.#relay.handler.onResponseStart?.(this.#relay, this.statusCode, this.headers, this.#statusMessage);
      // Still held: if the handler resumes the connection, what that brings joins the queue behind what is in it.
      for (const deliver of this.#held ?? []) deliver();
    } catch (error) {
      this.#state = "dropped";
      this.#controller?.abort(error as Error);
      this.#relay.fail(error);
      return;
    } finally {
      this.#held = undefined;
    }
    this.#state = "passing";
    if (!this.#relay.paused) this.#controller?.resume();
  }

  /** Reads on and forgets, so that the connection can be used again; a long answer is not worth that. */
  drop(): void {
    this.#state = "dropped";
    this.#held = undefined;
    this.#controller?.resume();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#relay.target = controller;
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: ResponseHeaders,
    statusMessage?: string,
  ): void {
    const { handler } = this.#relay;
    if (statusCode < 200) {
      handler.onResponseStart?.(this.#relay, statusCode, headers, statusMessage);
      return;
    }
    this.statusCode = statusCode;
    this.headers = headers;
    this.#statusMessage = statusMessage;
    if (this.#failureStatuses.has(statusCode)) {
      this.#state = "held";
      controller.pause();
      this.#relay.runInAsyncScope(this.#receiver.answered, this.#receiver, this, this.#attempt);
    } else {
      this.#pass();
      handler.onResponseStart?.(this.#relay, statusCode, headers, statusMessage);
    }
  }

  onRequestUpgrade(
    _: Dispatcher.DispatchController,
    statusCode: number,
    headers: ResponseHeaders,
    socket: Duplex,
  ): void {
    this.statusCode = statusCode;
    this.headers = headers;
    this.#pass();
    this.#relay.upgrade(statusCode, headers, socket);
  }

  onResponseStarted(): void {
    this.#relay.handler.onResponseStarted?.();
  }

  onBodySent(chunk: Buffer): void {
    this.#relay.handler.onBodySent?.(chunk);
  }

  onRequestSent(): void {
    this.#relay.handler.onRequestSent?.();
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#state === "passing") {
      this.#relay.handler.onResponseData?.(this.#relay, chunk);
    } else if (this.#state === "held") {
      this.#hold(() => this.#relay.handler.onResponseData?.(this.#relay, chunk));
    } else {
      this.#dropped += chunk.length;
      if (this.#dropped > MAX_DROPPED_BYTES) controller.abort(new errors.RequestAbortedError());
    }
  }

  onResponseEnd(_: Dispatcher.DispatchController, trailers: ResponseHeaders): void {
    if (this.#state === "passing") this.#relay.end(trailers);
    else if (this.#state === "held") this.#hold(() => this.#relay.end(trailers));
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    const receiver = this.#receiver;
    if (this.#state === "waiting") this.#relay.runInAsyncScope(receiver.failed, receiver, error, this.#attempt);
    else if (this.#state === "passing") this.#relay.fail(error);
    else if (this.#state === "held") this.#hold(() => this.#relay.fail(error));
  }

  #hold(deliver: () => void): void {
    (this.#held ??= []).push(deliver);
  }

  #pass(): void {
    this.#state = "passing";
    this.#relay.answered = true;
    this.#receiver.answered(this, this.#attempt);
  }
}

/** As much as undici's `dump()` reads. */
const MAX_DROPPED_BYTES = 131_072;
