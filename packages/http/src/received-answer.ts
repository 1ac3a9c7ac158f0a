import { AsyncResource } from "node:async_hooks";
import type { Attempt } from "@rollcall/core";
import type { Dispatcher } from "undici";
import type { Receiver } from "./exchange.ts";
import type { HttpResponse } from "./request-exchange.ts";
import { ResponseBody } from "./response-body.ts";
import type { ResponseHeaders } from "./status-error.ts";
import { destroyBody } from "./unread-body.ts";

/** Makes a response of the answer to one attempt, as undici's `request()` does. */
export class ReceivedAnswer extends AsyncResource implements Dispatcher.DispatchHandler {
  readonly #toHead: boolean;
  readonly #attempt: Attempt;
  readonly #receiver: Receiver<HttpResponse>;
  #body: ResponseBody | undefined;
  #trailers: Record<string, string> = {};

  constructor(method: string, attempt: Attempt, receiver: Receiver<HttpResponse>) {
    // Connections have an async context of their own.
    super("ROLLCALL_REQUEST");
    this.#toHead = method === "HEAD";
    this.#attempt = attempt;
    this.#receiver = receiver;
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: ResponseHeaders,
    statusText = "",
  ): void {
    if (statusCode < 200) return;
    const body = new ResponseBody(controller, headers, this.#toHead);
    this.#body = body;
    const { instance } = this.#attempt.endpoint;
    const answer = { statusCode, statusText, headers, body, trailers: this.#trailers, instance };
    const receiver = this.#receiver;
    this.runInAsyncScope(receiver.answered, receiver, answer, this.#attempt);
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#body?.receive(chunk);
  }

  onResponseEnd(_: Dispatcher.DispatchController, trailers: ResponseHeaders): void {
    for (const [name, value] of Object.entries(trailers)) {
      // An assignment would make something else of "__proto__".
      Object.defineProperty(this.#trailers, name, { value, enumerable: true, configurable: true, writable: true });
    }
    this.#body?.complete();
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    const body = this.#body;
    const receiver = this.#receiver;
    if (body === undefined) this.runInAsyncScope(receiver.failed, receiver, error, this.#attempt);
    // Not within what the connection is doing.
    else queueMicrotask(() => destroyBody(body, error));
  }
}
