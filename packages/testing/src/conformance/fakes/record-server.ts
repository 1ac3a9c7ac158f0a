import type { Env } from "@rollcall/core";

/** What the server knows of one record: text, as a real one would. */
interface StoredRecord {
  readonly service: string;
  readonly text: string;
  /** `undefined` for one that stays without being renewed. */
  readonly ttlMs: number | undefined;
  cancelExpiry: () => void;
}

/** The answer to a poll: the whole set, or that the place in the history is lost. */
export type Answer = { readonly index: number; readonly records: readonly string[] } | "gone";

/** Where the history begins: far above the index of a server that lost its data, which begins at 1. */
const FIRST_INDEX = 1_000;

/**
 * A registry's server inside the process, as a backend sees one over the network: long polls with an index, records with
 * a TTL, calls that take a turn of the event loop, and the faults of a real server. The broken fakes are backends of it.
 */
export class RecordServer {
  readonly #env: Env;
  readonly #records = new Map<string, StoredRecord>();
  readonly #parked = new Set<() => void>();
  #state: "up" | "down" | "hung" = "up";
  #index = FIRST_INDEX;
  /** The oldest index whose successors can still be told; older ones are gone. */
  #oldest = FIRST_INDEX;
  #connections = 0;
  #quiet = false;

  constructor(env: Env) {
    this.#env = env;
  }

  /** Calls that are under way, polls included. */
  get connections(): number {
    return this.#connections;
  }

  /** Answers when the index is beyond `after` (at once without one), or when `waitMs` are over. */
  poll(
    matches: (service: string) => boolean,
    after: number | undefined,
    waitMs: number,
    signal: AbortSignal,
  ): Promise<Answer> {
    return this.#call(signal, async () => {
      const untilMs = this.#env.now() + waitMs;
      for (;;) {
        await this.#reached(signal);
        if (after !== undefined && (after > this.#index || after < this.#oldest)) return "gone";
        if (after === undefined || after < this.#index || this.#env.now() >= untilMs) {
          const found = [...this.#records.values()].filter((record) => matches(record.service));
          return { index: this.#index, records: found.map((record) => record.text) };
        }
        await this.#event(signal, untilMs - this.#env.now());
      }
    });
  }

  put(key: string, service: string, text: string, ttlMs: number, token: string, signal: AbortSignal): Promise<void> {
    return this.#call(signal, async () => {
      await this.#reached(signal);
      if (token === "wrong") throw Object.assign(new Error("permission denied"), { code: "FORBIDDEN" });
      this.#store(key, { service, text, ttlMs, cancelExpiry: () => undefined });
    });
  }

  /** Rejects for a key that is not there. */
  renew(key: string, signal: AbortSignal): Promise<void> {
    return this.#call(signal, async () => {
      await this.#reached(signal);
      const record = this.#records.get(key);
      if (record === undefined) throw new Error(`unknown record ${key}`);
      this.#arm(key, record);
    });
  }

  /** Tells whether one was there. */
  remove(keys: (key: string) => boolean, signal: AbortSignal): Promise<boolean> {
    return this.#call(signal, async () => {
      await this.#reached(signal);
      const found = [...this.#records.keys()].filter(keys);
      for (const key of found) this.drop(key);
      return found.length > 0;
    });
  }

  /** Writes past the network. */
  seed(key: string, service: string, text: string): void {
    this.#store(key, { service, text, ttlMs: undefined, cancelExpiry: () => undefined });
  }

  /** Forgets one record, as when its lease ended. */
  drop(key: string): void {
    this.#records.get(key)?.cancelExpiry();
    if (this.#records.delete(key)) this.#changed();
  }

  kill(): void {
    this.#state = "down";
    this.#wake();
  }

  hang(): void {
    this.#state = "hung";
  }

  /** A server that is back gives every record its whole TTL again. */
  start(): void {
    this.#state = "up";
    for (const [key, record] of this.#records) this.#arm(key, record);
    this.#wake();
  }

  wipe(): void {
    for (const record of this.#records.values()) record.cancelExpiry();
    this.#records.clear();
    this.#index = 1;
    this.#oldest = 1;
    this.#wake();
  }

  /** What happens meanwhile is in the records, but can be told to no running poll. */
  async compact(meanwhile: () => Promise<void>): Promise<void> {
    this.#quiet = true;
    await meanwhile();
    this.#quiet = false;
    this.#oldest = ++this.#index;
    this.#wake();
  }

  #store(key: string, record: StoredRecord): void {
    this.#records.get(key)?.cancelExpiry();
    this.#records.set(key, record);
    this.#arm(key, record);
    this.#changed();
  }

  #arm(key: string, record: StoredRecord): void {
    record.cancelExpiry();
    if (record.ttlMs === undefined) return;
    record.cancelExpiry = this.#env.after(record.ttlMs, () => {
      // A server that does not run expires nothing.
      if (this.#state === "up") this.drop(key);
    });
  }

  #changed(): void {
    this.#index++;
    if (!this.#quiet) this.#wake();
  }

  #wake(): void {
    // A copy: a call that is woken may be parked again at once.
    for (const wake of Array.from(this.#parked)) wake();
  }

  async #call<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    this.#connections++;
    try {
      // The way there: no answer comes in the same turn. By a timer, so that after a stall of the process it comes before
      // the time-outs that were armed later.
      await new Promise((resolve) => setTimeout(resolve, 0));
      signal.throwIfAborted();
      return await work();
    } finally {
      this.#connections--;
    }
  }

  /** Refuses while the server is down, waits while it hangs. */
  async #reached(signal: AbortSignal): Promise<void> {
    while (this.#state === "hung") await this.#event(signal, Infinity);
    if (this.#state === "down") throw Object.assign(new Error("connection refused"), { code: "ECONNREFUSED" });
  }

  /** Resolves when anything happened or the time is over; rejects when the signal aborts. */
  #event(signal: AbortSignal, withinMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        cancel();
        this.#parked.delete(wake);
        signal.removeEventListener("abort", abort);
      };
      const wake = (): void => {
        end();
        resolve();
      };
      const abort = (): void => {
        end();
        reject(signal.reason);
      };
      const cancel = withinMs === Infinity ? () => undefined : this.#env.after(withinMs, wake);
      this.#parked.add(wake);
      signal.addEventListener("abort", abort);
    });
  }
}
