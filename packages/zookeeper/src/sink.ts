import { randomUUID } from "node:crypto";
import { type Instance, type Sink, isDiscoveryError, untilAborted } from "@rollcall/core";
import { type ACL, CreateMode, Exception } from "node-zookeeper-client";
import { encodeInstance, folderOf, nodeName } from "./client.ts";
import type { ZooKeeperConnection } from "./connection.ts";
import type { ZooKeeperSession } from "./session.ts";
import { ZooKeeperError } from "./zookeeper-error.ts";

/** So that a connection that is away for a while less than the session's time-out costs nothing, whenever it began. */
const MAX_RENEW_MS = 5_000;

/**
 * Announces one instance: an ephemeral node, which is gone with its session, under a name of its own. Nobody else has
 * that name, so taking it back takes nobody else's, and a write of which nobody knows whether it arrived is taken back
 * by its name, over this connection or a later one, until ZooKeeper says that it is gone.
 *
 * @param acl who may do what with the nodes that are made.
 */
export function zookeeperSink(connection: ZooKeeperConnection, root: string, acl: ACL[]): Sink {
  /** The node of the last registration that was accepted. */
  let held: string | undefined;

  const write = async (session: ZooKeeperSession, path: string, data: Buffer | undefined, signal: AbortSignal) => {
    const mode = data === undefined ? CreateMode.PERSISTENT : CreateMode.EPHEMERAL;
    const once = () =>
      session.call<string>(`writing ${path}`, signal, (client, done) =>
        client.create(path, data ?? Buffer.alloc(0), acl, mode, done),
      );
    if ((await once()) !== undefined) return;
    const parent = path.slice(0, path.lastIndexOf("/"));
    // Others may have been faster, or have made it with rights that we lack: the record itself will tell.
    await write(session, parent, undefined, signal).catch(() => undefined);
    if ((await once()) === undefined) throw new ZooKeeperError(`there is no ${parent}`, { code: Exception.NO_NODE });
  };

  /** Resolves with the path, if all is well. */
  const renew = async (path: string, instance: Instance, signal: AbortSignal): Promise<string> => {
    const session = await connection.session(signal);
    const { sessionId } = session.resume;
    const isWell = await session.call<boolean>(`reading ${path}`, signal, (client, done) =>
      client.getData(path, (error, data: Buffer | undefined, stat) =>
        done(error, !error && stat.ephemeralOwner.equals(sessionId) && data?.equals(encodeInstance(instance))),
      ),
    );
    if (isWell === true) return path;
    throw new ZooKeeperError(`somebody has removed or changed ${path}, or its session has expired`);
  };

  /** Goes on until ZooKeeper has answered: the session lives on for others, and so would what nobody renews. */
  const remove = async (path: string): Promise<void> => {
    if (held === path) held = undefined;
    const { closing } = connection;
    for (;;) {
      let session: ZooKeeperSession | undefined;
      try {
        session = await connection.session(closing);
        await session.call(`removing ${path}`, closing, (client, done) => client.remove(path, done));
        return;
      } catch (error) {
        // As long as the connection stands, it would say it again.
        const isAnswer = session?.open === true && !isDiscoveryError(error, "TIMEOUT");
        if (closing.aborted || isAnswer) throw error;
      }
    }
  };

  return {
    name: "zookeeper",
    async register(instance, signal) {
      const session = await connection.session(signal);
      const before = held;
      // A repair writes nothing if all is well again: many come at the same time, when ZooKeeper is back.
      let path = before && (await renew(before, instance, signal).catch(() => undefined));
      if (path === undefined) {
        path = `${folderOf(root, instance.service)}/${nodeName(instance.id)}-${randomUUID()}`;
        try {
          await write(session, path, encodeInstance(instance), signal);
        } catch (error) {
          remove(path).catch(() => undefined); // then it ends with its session
          throw error;
        }
        if (before !== undefined) remove(before).catch(() => undefined);
        held = path;
      }
      const announced = path;
      return {
        renewEveryMs: Math.min(session.timeoutMs / 3, MAX_RENEW_MS),
        renew: async (renewSignal) => void (await renew(announced, instance, renewSignal)),
        remove: (removeSignal) => untilAborted(remove(announced), removeSignal),
      };
    },
  };
}
