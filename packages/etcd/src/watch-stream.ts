import type { IDuplexStream, IWatchCreateRequest, IWatchRequest, IWatchResponse } from "etcd3";
import { EtcdError } from "./etcd-error.ts";

/** One watcher's share of a {@link WatchStream}. */
export interface Watch {
  /**
   * The next answer that is for this watcher: first that it was created, then each change. Resolves with undefined after
   * {@link nudge}, and in the place of the first answer if the stream hears no requests any more. Rejects when the
   * watcher was cancelled, by whomever, and when the stream broke. One call at a time.
   */
  next(): Promise<IWatchResponse | undefined>;
  /** Ends the waiting of `next` without an answer. */
  nudge(): void;
  /** Tells etcd that nobody listens any more; `next` rejects with the reason. */
  cancel(reason: unknown): void;
}

/**
 * Many watchers over one stream, so that a process that watches a thousand services has one. The rules are etcd's: it
 * answers requests for watchers in their order, says `created` before anything else, and after `canceled` nothing more.
 * An answer that is nobody's (for a watcher that was cancelled meanwhile, say) is ignored.
 *
 * An etcd 3.4 that has refused a watcher reads no further request from the stream, though it goes on telling the other
 * watchers their changes. So this is the end of it for new ones, and when the last old one leaves it is closed.
 */
export class WatchStream {
  readonly #duplex: IDuplexStream<IWatchRequest, IWatchResponse>;
  readonly #requested: Watcher[] = [];
  readonly #created = new Map<string, Watcher>();
  readonly #onEnd: (error?: unknown) => void;
  #deaf = false;
  #end: { readonly error: unknown } | undefined;

  /** @param onEnd is called once, when the stream is over: with an error if it broke. */
  constructor(duplex: IDuplexStream<IWatchRequest, IWatchResponse>, onEnd: (error?: unknown) => void) {
    this.#duplex = duplex;
    this.#onEnd = onEnd;
    const end = (error: unknown): void => {
      if (this.#end !== undefined) return; // gRPC says both "error" and "end"
      this.#finish(error);
      onEnd(error);
    };
    duplex.on("data", (response) => this.#receive(response));
    duplex.on("error", (cause) => end(new EtcdError(`the watch stream broke: ${cause.message}`, { cause })));
    duplex.on("end", () => end(new EtcdError("etcd ended the watch stream")));
  }

  watch(request: IWatchCreateRequest): Watch {
    const watcher = new Watcher((id) => {
      if (id === undefined || this.#end !== undefined) return; // if it is still created, it will be cancelled then
      this.#created.delete(id);
      if (this.#deaf) this.#closeIfUnused();
      else this.#duplex.write({ cancel_request: { watch_id: id } });
    });
    if (this.#end !== undefined) watcher.fail(this.#end.error);
    else if (this.#deaf) watcher.receive(undefined);
    else {
      this.#requested.push(watcher);
      this.#duplex.write({ create_request: request });
    }
    return watcher;
  }

  close(reason: unknown): void {
    if (this.#end !== undefined) return;
    this.#finish(reason);
    this.#duplex.cancel();
    this.#onEnd();
  }

  #receive(response: IWatchResponse): void {
    const watcher = response.created ? this.#requested.shift() : this.#created.get(response.watch_id);
    if (watcher === undefined) return;
    if (response.created && !response.canceled) {
      watcher.id = response.watch_id;
      if (watcher.ended) {
        this.#duplex.write({ cancel_request: { watch_id: response.watch_id } });
        return;
      }
      this.#created.set(response.watch_id, watcher);
    }
    if (response.canceled) this.#created.delete(response.watch_id);
    watcher.receive(response);
    if (response.created && response.canceled) this.#turnDeaf();
    if (this.#deaf) this.#closeIfUnused();
  }

  #turnDeaf(): void {
    this.#deaf = true;
    for (const watcher of this.#requested) watcher.receive(undefined);
    this.#requested.length = 0;
  }

  #closeIfUnused(): void {
    if (this.#created.size === 0) this.close(new EtcdError("nobody watches any more"));
  }

  #finish(error: unknown): void {
    this.#end = { error };
    for (const watcher of [...this.#requested, ...this.#created.values()]) watcher.fail(error);
    this.#requested.length = 0;
    this.#created.clear();
  }
}

class Watcher implements Watch {
  id: string | undefined;
  readonly #onCancel: (id: string | undefined) => void;
  readonly #responses: (IWatchResponse | undefined)[] = [];
  #waiting: PromiseWithResolvers<IWatchResponse | undefined> | undefined;
  #end: { readonly error: unknown } | undefined;

  constructor(onCancel: (id: string | undefined) => void) {
    this.#onCancel = onCancel;
  }

  get ended(): boolean {
    return this.#end !== undefined;
  }

  next(): Promise<IWatchResponse | undefined> {
    if (this.#responses.length > 0) return Promise.resolve(this.#responses.shift());
    if (this.#end !== undefined) return Promise.reject(this.#end.error);
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  nudge(): void {
    this.receive(undefined);
  }

  receive(response: IWatchResponse | undefined): void {
    if (this.#end !== undefined) return;
    if (this.#waiting === undefined) this.#responses.push(response);
    else this.#waiting.resolve(response);
    this.#waiting = undefined;
  }

  fail(error: unknown): void {
    this.#end ??= { error };
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  cancel(reason: unknown): void {
    if (this.#end !== undefined) return;
    this.#responses.length = 0;
    this.fail(reason);
    this.#onCancel(this.id);
  }
}
