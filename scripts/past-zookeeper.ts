import { once } from "node:events";
import { type Client, createClient } from "node-zookeeper-client";

/** One request to ZooKeeper, past all of Rollcall's own code. */
export type Ask = <T>(send: (client: Client, done: (error: unknown, value?: T) => void) => void) => Promise<T>;

/** Opens a session of its own, which has seen no fault, for as long as `act` takes. @param host `name:port` */
export async function pastZookeeper<T>(
  host: string,
  digest: string | undefined,
  act: (ask: Ask) => Promise<T>,
): Promise<T> {
  const client = createClient(host);
  if (digest !== undefined) client.addAuthInfo("digest", Buffer.from(digest));
  const connected = once(client, "connected", { signal: AbortSignal.timeout(5_000) });
  client.connect();
  try {
    await connected;
    return await act(
      (send) =>
        new Promise((resolve, reject) => {
          send(client, (error, value) => (error instanceof Error ? reject(error) : resolve(value as never)));
        }),
    );
  } finally {
    client.close();
  }
}

/** The names of a node's children; none if there is no such node. */
export function childrenOf(ask: Ask, path: string): Promise<readonly string[]> {
  return ask<readonly string[]>((client, done) =>
    client.getChildren(path, (error, names) =>
      error instanceof Error && "code" in error && error.code === -101 ? done(null, []) : done(error, names),
    ),
  );
}
