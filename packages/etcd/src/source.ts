import {
  type Appointment,
  type Instance,
  type NormalizedQuery,
  type Reading,
  type Source,
  reportBad,
} from "@rollcall/core";
import type { IKeyValue, IWatchResponse } from "etcd3";
import { type KeyRange, decodeEntry, rangeOf } from "./client.ts";
import type { EtcdConnection } from "./connection.ts";
import { EntrySet } from "./entry-set.ts";
import { EtcdError } from "./etcd-error.ts";
import type { EtcdSession } from "./session.ts";
import type { Reader, Watch } from "./watch-stream.ts";

/**
 * Reads one service: a list of its keys, and then a watch from the next revision on, whose changes are applied to the
 * list. Every `relistMs` (give or take a quarter) the list is read anew, for what neither etcd nor the network says: a
 * permission that was withdrawn, a stream that is silent for ever.
 *
 * A compacted log, a revision that went back, or another cluster at the same address end the watch, for its changes
 * would be wrong; everything else that goes wrong throws. Neither is mended here: core watches anew, with a new list,
 * and never from an old revision, which in a restored etcd would mean for ever.
 */
export function etcdSource(
  connection: EtcdConnection,
  query: NormalizedQuery,
  prefix: string,
  relistMs: number,
): Source {
  return new EtcdSource(connection, query, prefix, relistMs);
}

class EtcdSource implements Source {
  readonly connection: EtcdConnection;
  readonly query: NormalizedQuery;
  readonly relistMs: number;
  readonly #prefix: string;

  constructor(connection: EtcdConnection, query: NormalizedQuery, prefix: string, relistMs: number) {
    this.connection = connection;
    this.query = query;
    this.relistMs = relistMs;
    this.#prefix = prefix;
  }

  get name(): string {
    return "etcd";
  }

  /** Made when it is needed: two buffers for each of a thousand services are more than their names. */
  get range(): KeyRange {
    return rangeOf(this.#prefix, this.query.service);
  }

  watch(signal: AbortSignal): AsyncIterable<readonly Instance[]> {
    return new ServiceWatch(this, signal);
  }
}

type Step = IteratorResult<readonly Instance[], undefined>;

/**
 * One watch of an {@link etcdSource}. Written as a generator it would be shorter; but thousands may wait for a change that
 * seldom comes, and a generator that waits holds three times what this does.
 */
class ServiceWatch implements AsyncIterableIterator<readonly Instance[], undefined>, Appointment, Reader {
  readonly #source: EtcdSource;
  readonly #signal: AbortSignal;
  readonly #entries: EntrySet;
  #session: EtcdSession | undefined;
  #changes: Watch | undefined;
  #cluster = "";
  /** The revision of the last list: the changes up to it are in it. */
  #listed = 0n;
  /** The newest revision that was ever heard of, which in one and the same etcd never goes back. */
  #newest = 0n;
  /** Something has changed that nobody has been told. */
  #isNews = false;
  /** An answer of etcd is waited for. */
  #isBusy = false;
  /** It is time for a new list; or that time is in the agenda. */
  #isDue = false;
  #isPlanned = false;
  #isOver = false;
  /** Of whoever waits for the next set. */
  #resolve: ((step: Step) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;
  dueMs = 0;

  constructor(source: EtcdSource, signal: AbortSignal) {
    this.#source = source;
    this.#signal = signal;
    this.#entries = new EntrySet(source.query.service, source.query.tags);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Step> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.wake();
    });
  }

  return(): Promise<Step> {
    this.#end();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Does what is to be done next, if somebody waits for it. */
  wake(): void {
    try {
      while (this.#resolve !== undefined && !this.#isBusy) {
        if (this.#isOver) this.#end();
        else if (this.#isNews) this.#tell();
        else if (this.#session === undefined) this.#await(this.#begin());
        else if (this.#changes === undefined) this.#await(this.#confirm(this.#session));
        else if (this.#isDue) this.#await(this.#list(this.#session));
        else {
          const response = this.#changes.take();
          if (response !== undefined) this.#hear(response);
          else return this.#plan();
        }
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Of the agenda: the next list is due. */
  keep(): void {
    this.#isPlanned = false;
    this.#isDue = true;
    this.wake();
  }

  /** Of the signal: it was aborted. */
  handleEvent(): void {
    this.#fail(this.#signal.reason);
  }

  #await(work: Promise<void>): void {
    this.#isBusy = true;
    const go = (): void => {
      this.#isBusy = false;
      this.wake();
    };
    work.then(go, (error: unknown) => this.#fail(error));
  }

  /** The list and the changes come from one member: another one may be behind. */
  async #begin(): Promise<void> {
    this.#session = await this.#source.connection.session(this.#signal);
    await this.#list(this.#session);
  }

  async #confirm(session: EtcdSession): Promise<void> {
    const request = { ...this.#source.range, start_revision: String(this.#listed + 1n), fragment: true };
    const what = `watching service "${this.#source.query.service}"`;
    const { watch, created } = await session.watch(what, request, this.#signal);
    this.#changes = watch;
    // Either may have happened between its confirmation and now.
    this.#signal.throwIfAborted();
    if (this.#isOver) return this.#end();
    this.#signal.addEventListener("abort", this);
    this.#hear(created);
    watch.read(this);
  }

  async #list(session: EtcdSession): Promise<void> {
    const { range, query, connection } = this.#source;
    const turn = await connection.lists.take(this.#signal);
    const { header, kvs } = await session
      .call(`listing service "${query.service}"`, (api, call) => api.kv.range(range, call), this.#signal)
      .finally(() => turn.end());
    const revision = BigInt(header.revision);
    this.#isDue = false;
    // Not the etcd that was read before.
    if (this.#cluster !== "" && (header.cluster_id !== this.#cluster || revision < this.#newest)) this.#isOver = true;
    this.#cluster = header.cluster_id;
    this.#listed = this.#newest = revision;
    const entries = kvs.map((kv) => [keyOf(kv, range), decodeEntry(range, query.service, kv)] as const);
    this.#entries.replace(entries);
    this.#report(entries.map(([, entry]) => entry));
    this.#isNews = true;
  }

  #hear(response: IWatchResponse): void {
    const { header, created, canceled, compact_revision, cancel_reason } = response;
    const revision = BigInt(header.revision);
    if (header.cluster_id !== this.#cluster || compact_revision !== "0" || (created && revision < this.#newest)) {
      this.#isOver = true;
    } else if (canceled) {
      throw new EtcdError(`etcd ended the watch of service "${this.#source.query.service}": ${cancel_reason}`);
    } else {
      this.#apply(response);
      if (revision > this.#newest) this.#newest = revision;
    }
  }

  /**
   * Skipped is only what the list had: the header's revision may be ahead of what a watcher that has to catch up is told
   * next, and all parts of one change have the same.
   */
  #apply({ events }: IWatchResponse): void {
    const { range, query } = this.#source;
    const entries: Reading[] = [];
    for (const { type, kv } of events) {
      if (BigInt(kv.mod_revision) <= this.#listed) continue;
      this.#isNews = true;
      const key = keyOf(kv, range);
      if (type === "Delete") this.#entries.delete(key);
      else {
        const entry = decodeEntry(range, query.service, kv);
        this.#entries.set(key, entry);
        entries.push(entry);
      }
    }
    this.#report(entries);
  }

  #report(entries: readonly Reading[]): void {
    const bad = entries.filter((entry) => "error" in entry);
    reportBad("etcd", this.#source.query.service, bad);
  }

  #tell(): void {
    this.#isNews = false;
    this.#settle({ done: false, value: this.#entries.instances() });
  }

  #settle(step: Step): void {
    this.#resolve?.(step);
    this.#resolve = this.#reject = undefined;
  }

  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    const { connection, relistMs } = this.#source;
    connection.agenda.enter(this, relistMs * (0.75 + connection.env.random() / 2));
  }

  #fail(error: unknown): void {
    this.#isBusy = false;
    this.#reject?.(error);
    this.#end();
  }

  /** Lets go of everything; there is no next set. */
  #end(): void {
    this.#isOver = true;
    this.#settle({ done: true, value: undefined });
    this.#source.connection.agenda.leave(this);
    this.#signal.removeEventListener("abort", this);
    this.#changes?.cancel(this.#signal.reason);
  }
}

/** What the range does not say of the key; one character for each byte. */
function keyOf({ key }: IKeyValue, range: KeyRange): string {
  return key.toString("latin1", range.key.length);
}
