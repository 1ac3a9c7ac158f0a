import {
  type Instance,
  type NormalizedQuery,
  type Reading,
  type Source,
  readRecord,
  readingsOf,
  sleep,
  untilAborted,
} from "@rollcall/core";
import { decodeNode, folderOf } from "./client.ts";
import type { ZooKeeperConnection } from "./connection.ts";
import { ZooKeeperError } from "./zookeeper-error.ts";

/** A child, as it was last read. */
interface Child extends Reading {
  /** When it was created, in ZooKeeper's own time. */
  readonly created: bigint;
}

/**
 * Reads one service: the list of its children, then each of them, all with watches. An event only says where to look
 * again, and looking sets the next watch, so that no change is lost between two. A service that does not exist yet is an
 * empty one, whose making is watched.
 *
 * One thing is lost: an event that happens while the reader has no right to read. ZooKeeper keeps it to itself, and the
 * watch is used up all the same. So every `relistMs` (give or take a quarter) the children are listed anew.
 *
 * Under one id there may be several children: of a server that crashed and came back before its old session had expired,
 * say. The newest one counts.
 */
export function zookeeperSource(
  connection: ZooKeeperConnection,
  query: NormalizedQuery,
  root: string,
  relistMs: number,
): Source {
  const { env } = connection;
  const { service } = query;
  const folder = folderOf(root, service);

  async function* watch(signal: AbortSignal): AsyncGenerator<readonly Instance[]> {
    // The watches belong to this connection and end with it: what comes over another one begins anew.
    const session = await connection.session(signal);
    const instancesOf = readingsOf("zookeeper", query, ZooKeeperError);
    /** What was read, or is being read, and has not changed since. */
    const children = new Map<string, Promise<readonly Child[]>>();
    let changed = new AbortController();
    const onEvent = (path: string): void => {
      children.delete(path.slice(folder.length + 1));
      changed.abort();
    };

    const list = async (): Promise<readonly string[]> => {
      const what = `listing service "${service}"`;
      const names = await session.call<string[]>(what, signal, (client, done) =>
        client.getChildren(folder, session.onEvent, done),
      );
      if (names !== undefined) return names;
      const stat = await session.call(what, signal, (client, done) => client.exists(folder, session.onEvent, done));
      return stat === null ? [] : list();
    };
    /** Nothing if it is gone. */
    const read = async (name: string): Promise<readonly Child[]> => {
      const path = `${folder}/${name}`;
      const child = await session.call<Child>(`reading ${path}`, signal, (client, done) =>
        client.getData(path, session.onEvent, (error, data, stat) => {
          if (error) return done(error);
          const reading = readRecord(path, () => decodeNode(service, name, data));
          done(null, { ...reading, created: stat.czxid.readBigInt64BE() });
        }),
      );
      if (child !== undefined) return [child];
      children.delete(name); // it may come again
      return [];
    };

    session.events.on(folder, onEvent);
    try {
      for (;;) {
        changed = new AbortController();
        const names = new Set(await list());
        for (const name of children.keys()) if (!names.has(name)) children.delete(name);
        for (const name of names) if (!children.has(name)) children.set(name, read(name));
        const known = (await Promise.all(children.values())).flat();
        // Of two with the same id core takes the first.
        yield instancesOf(known.toSorted((a, b) => (a.created > b.created ? -1 : 1)));
        const pause = sleep(env, relistMs * (0.75 + env.random() / 2), changed.signal);
        await untilAborted(untilAborted(pause, session.ended), signal);
      }
    } finally {
      changed.abort();
      session.events.off(folder, onEvent);
    }
  }

  return { name: "zookeeper", watch };
}
