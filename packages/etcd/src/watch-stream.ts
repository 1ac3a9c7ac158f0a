import type { IDuplexStream, IWatchCreateRequest, IWatchRequest, IWatchResponse } from "etcd3";
import { EtcdError } from "./etcd-error.ts";

/** One watcher's share of a {@link WatchStream}. */
export interface Watch {
  /**
   * Resolves with the first answer, which says whether the watcher was created; with undefined if the stream hears no
   * requests any more. Rejects as {@link take} throws. Called once, before all else.
   */
  confirmed(): Promise<IWatchResponse | undefined>;
  /**
   * The next change, if there is one. Throws when there was the last and the watcher was cancelled, by whomever, or the
   * stream broke.
   */
  take(): IWatchResponse | undefined;
  /** Wakes the reader now, and whenever there is something new to {@link take}. */
  read(reader: Reader): void;
  /** Tells etcd that nobody listens any more, and drops what was not taken: `take` throws the reason. */
  cancel(reason: unknown): void;
}

/** Whoever reads a {@link Watch}. An object, and no function: there are thousands. */
export interface Reader {
  /** Must not throw. */
  wake(): void;
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
    const watcher = new Watcher(this);
    if (this.#end !== undefined) watcher.fail(this.#end.error);
    else if (this.#deaf) watcher.turnAway();
    else {
      this.#requested.push(watcher);
      this.#duplex.write({ create_request: request });
    }
    return watcher;
  }

  /** Of a watcher: it has been cancelled. */
  leave({ id }: Watcher): void {
    if (id === undefined || this.#end !== undefined) return; // if it is still created, it will be cancelled then
    this.#created.delete(id);
    if (this.#deaf) this.#closeIfUnused();
    else this.#duplex.write({ cancel_request: { watch_id: id } });
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
    for (const watcher of this.#requested) watcher.turnAway();
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
  readonly #stream: WatchStream;
  readonly #responses: IWatchResponse[] = [];
  #reader: Reader | undefined;
  #isTurnedAway = false;
  #end: { readonly error: unknown } | undefined;

  constructor(stream: WatchStream) {
    this.#stream = stream;
  }

  get ended(): boolean {
    return this.#end !== undefined;
  }

  confirmed(): Promise<IWatchResponse | undefined> {
    return new Promise((resolve, reject) => {
      const wake = (): void => {
        try {
          const response = this.take();
          if (response === undefined && !this.#isTurnedAway) return;
          this.#reader = undefined;
          resolve(response);
        } catch (error) {
          reject(error);
        }
      };
      this.read({ wake });
    });
  }

  take(): IWatchResponse | undefined {
    const response = this.#responses.shift();
    if (response === undefined && this.#end !== undefined) throw this.#end.error;
    return response;
  }

  read(reader: Reader): void {
    this.#reader = reader;
    reader.wake();
  }

  receive(response: IWatchResponse): void {
    if (this.#end !== undefined) return;
    this.#responses.push(response);
    this.#reader?.wake();
  }

  /** There is no answer to its request, and never will be. */
  turnAway(): void {
    this.#isTurnedAway = true;
    this.#reader?.wake();
  }

  fail(error: unknown): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    this.#reader?.wake();
  }

  cancel(reason: unknown): void {
    if (this.#end !== undefined) return;
    this.#responses.length = 0;
    this.fail(reason);
    this.#stream.leave(this);
  }
}
