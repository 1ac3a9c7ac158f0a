import type { Dispatcher } from "undici";
import { type IncomingRequest, beingServed, whileServing } from "./call-chain.ts";

type Handler = Required<Dispatcher.DispatchHandler>;

/**
 * A handler whose callbacks serve what was served when it was made. undici calls them from the sockets, and a socket
 * belongs to whatever request it was opened for: a redirect, or a listener of a body, would end with that one's deadline.
 */
export class ServedHandler implements Dispatcher.DispatchHandler {
  readonly #inner: Dispatcher.DispatchHandler;
  readonly #served: IncomingRequest | undefined = beingServed();

  constructor(inner: Dispatcher.DispatchHandler) {
    this.#inner = inner;
  }

  onRequestStart(...given: Parameters<Handler["onRequestStart"]>): void {
    whileServing(this.#served, () => this.#inner.onRequestStart?.(...given));
  }

  onRequestUpgrade(...given: Parameters<Handler["onRequestUpgrade"]>): void {
    whileServing(this.#served, () => this.#inner.onRequestUpgrade?.(...given));
  }

  onResponseStart(...given: Parameters<Handler["onResponseStart"]>): void {
    whileServing(this.#served, () => this.#inner.onResponseStart?.(...given));
  }

  onResponseStarted(): void {
    whileServing(this.#served, () => this.#inner.onResponseStarted?.());
  }

  onBodySent(...given: Parameters<Handler["onBodySent"]>): void {
    whileServing(this.#served, () => this.#inner.onBodySent?.(...given));
  }

  onRequestSent(): void {
    whileServing(this.#served, () => this.#inner.onRequestSent?.());
  }

  onResponseData(...given: Parameters<Handler["onResponseData"]>): void {
    whileServing(this.#served, () => this.#inner.onResponseData?.(...given));
  }

  onResponseEnd(...given: Parameters<Handler["onResponseEnd"]>): void {
    whileServing(this.#served, () => this.#inner.onResponseEnd?.(...given));
  }

  onResponseError(...given: Parameters<Handler["onResponseError"]>): void {
    whileServing(this.#served, () => this.#inner.onResponseError?.(...given));
  }
}
