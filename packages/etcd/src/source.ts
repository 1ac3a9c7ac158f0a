import { type Instance, type NormalizedQuery, type Reading, type Source, reportBad } from "@rollcall/core";
import type { IKeyValue, IWatchResponse } from "etcd3";
import { decodeEntry, rangeOf } from "./client.ts";
import type { EtcdConnection } from "./connection.ts";
import { EntrySet } from "./entry-set.ts";
import { EtcdError } from "./etcd-error.ts";

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
  { service, tags }: NormalizedQuery,
  prefix: string,
  relistMs: number,
): Source {
  const { env } = connection;
  const range = rangeOf(prefix, service);

  async function* watch(signal: AbortSignal): AsyncGenerator<readonly Instance[]> {
    // The list and the changes come from one member: another one may be behind.
    const session = await connection.session(signal);
    const entries = new EntrySet(service, tags);
    let cluster = "";
    /** The revision of the last list: the changes up to it are in it. */
    let listed = 0n;
    /** The newest revision that was ever heard of, which in one and the same etcd never goes back. */
    let newest = 0n;

    /** Resolves with false if this is not the etcd that was read before. */
    const list = async (): Promise<boolean> => {
      const { header, kvs } = await session.call(
        `listing service "${service}"`,
        (api, call) => api.kv.range(range, call),
        signal,
      );
      const revision = BigInt(header.revision);
      if (cluster !== "" && (header.cluster_id !== cluster || revision < newest)) return false;
      cluster = header.cluster_id;
      listed = newest = revision;
      entries.clear();
      const bad: Reading[] = [];
      for (const kv of kvs) put(kv, bad);
      reportBad("etcd", service, bad);
      return true;
    };
    const put = (kv: IKeyValue, bad: Reading[]): void => {
      const entry = decodeEntry(range, service, kv);
      entries.set(kv.key.toString("latin1"), entry);
      if ("error" in entry) bad.push(entry);
    };
    /**
     * Whether anything has changed. Skipped is only what the list had: the header's revision may be ahead of what a
     * watcher that has to catch up is told next, and all parts of one change have the same.
     */
    const apply = ({ header, events }: IWatchResponse): boolean => {
      let isNews = false;
      const bad: Reading[] = [];
      for (const { type, kv } of events) {
        if (BigInt(kv.mod_revision) <= listed) continue;
        isNews = true;
        if (type === "Delete") entries.delete(kv.key.toString("latin1"));
        else put(kv, bad);
      }
      reportBad("etcd", service, bad);
      const revision = BigInt(header.revision);
      if (revision > newest) newest = revision;
      return isNews;
    };

    await list();
    yield entries.instances();
    const request = { ...range, start_revision: String(listed + 1n), fragment: true };
    const { watch: changes, created } = await session.watch(`watching service "${service}"`, request, signal);
    const onAbort = (): void => changes.cancel(signal.reason);
    signal.addEventListener("abort", onAbort);
    let cancelRelist: (() => void) | undefined;
    try {
      let response: IWatchResponse | undefined = created;
      while (!signal.aborted) {
        if (response === undefined) {
          if (!(await list())) return;
          yield entries.instances();
        } else {
          const { header, canceled, compact_revision, cancel_reason } = response;
          if (header.cluster_id !== cluster || compact_revision !== "0") return;
          if (response.created && BigInt(header.revision) < newest) return;
          if (canceled) throw new EtcdError(`etcd ended the watch of service "${service}": ${cancel_reason}`);
          if (apply(response)) yield entries.instances();
        }
        cancelRelist ??= env.after(relistMs * (0.75 + env.random() / 2), () => {
          cancelRelist = undefined;
          changes.nudge();
        });
        response = await changes.next();
      }
    } finally {
      cancelRelist?.();
      signal.removeEventListener("abort", onAbort);
      changes.cancel(signal.reason);
    }
  }

  return { name: "etcd", watch };
}
