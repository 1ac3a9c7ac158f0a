import { AsyncResource } from "node:async_hooks";
import type { Duplex } from "node:stream";
import { type Dispatcher, errors } from "undici";
import { LightSignal } from "./light-signal.ts";
import type { RunningRelays } from "./running-relays.ts";
import type { ResponseHeaders } from "./status-error.ts";

/** The controller that the handler of a balanced request gets: one from beginning to end, for all attempts. */
export interface RelayController extends Dispatcher.DispatchController {
  /**
   * Ends the request as `abort` does, if no answer has begun, but as a failure of the instance that is being asked: for
   * those who measure themselves how long it may take. Nothing is tried again.
   */
  expire(error: Error): void;
}

/**
 * What the handler of a dispatched request has in its hand, whichever attempt answers it: one controller from the
 * beginning to the end, although every attempt has a connection, and so a controller, of its own.
 */
export class Relay extends AsyncResource implements RelayController {
  readonly handler: Dispatcher.DispatchHandler;
  /** Aborts when the request is to end before an answer has begun. */
  readonly signal = new LightSignal();
  /** Sends it. */
  exchange: { abort(reason: unknown): void } | undefined;
  /** The controller of the attempt that is running. */
  target: Dispatcher.DispatchController | undefined;
  /** Whether the head of an answer was passed on: from then on there is only that one attempt. */
  answered = false;
  /** Whether its time is over: there is no further attempt. */
  expired = false;
  /** Among those that run, as these have written it; negative when it does not. */
  place = -1;
  #aborted = false;
  #reason: Error | null = null;
  #paused = false;
  readonly #running: RunningRelays;

  /** `running` holds it until its end. */
  constructor(handler: Dispatcher.DispatchHandler, running: RunningRelays) {
    // Connections have an async context of their own.
    super("ROLLCALL_REQUEST");
    this.handler = handler;
    this.#running = running;
    running.add(this);
  }

  get aborted(): boolean {
    return this.#aborted || this.target?.aborted === true;
  }

  get reason(): Error | null {
    return this.#reason ?? this.target?.reason ?? null;
  }

  get paused(): boolean {
    return this.#paused;
  }

  get rawHeaders(): NonNullable<Dispatcher.DispatchController["rawHeaders"]> | null {
    return this.target?.rawHeaders ?? null;
  }

  get rawTrailers(): NonNullable<Dispatcher.DispatchController["rawTrailers"]> | null {
    return this.target?.rawTrailers ?? null;
  }

  abort(reason?: Error): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason ?? new errors.RequestAbortedError();
    if (!this.#running.has(this)) return;
    if (this.answered) this.exchange?.abort(this.#reason);
    else this.signal.abort(this.#reason);
  }

  expire(error: Error): void {
    if (this.answered || this.#aborted) return;
    this.expired = true;
    this.target?.abort(error);
    // Not before the attempt has ended with it: what is aborted from here is nobody's failure.
    setImmediate(() => this.abort(error));
  }

  pause(): void {
    this.#paused = true;
    this.target?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.target?.resume();
  }

  /** The connection is the handler's from now on. */
  upgrade(statusCode: number, headers: ResponseHeaders, socket: Duplex): void {
    this.#running.delete(this);
    if (this.handler.onRequestUpgrade === undefined) socket.destroy();
    else this.handler.onRequestUpgrade(this, statusCode, headers, socket);
  }

  /** Not the end if the handler throws: undici then tells it so, and it may have been waiting for just that. */
  end(trailers: ResponseHeaders): void {
    this.handler.onResponseEnd?.(this, trailers);
    this.#running.delete(this);
  }

  /** Tells the handler that it failed, once. */
  fail(error: unknown): void {
    if (!this.#running.delete(this)) return;
    // The type wants an Error; an abort reason is passed on as it was given.
    this.handler.onResponseError?.(this, error as Error);
  }
}
