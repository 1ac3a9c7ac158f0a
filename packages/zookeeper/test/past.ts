import { type Client, CreateMode, type Stat, createClient } from "node-zookeeper-client";

/**
 * Another way into ZooKeeper, which shares none of our code: the vendor's client, as it comes. It does not survive the
 * end of its session.
 */
export interface Past {
  readonly client: Client;
  /** Writes a node that stays, or, with `CreateMode.EPHEMERAL`, until {@link close}; makes what is above it. */
  put(path: string, data: Buffer | string, mode?: number): Promise<void>;
  change(path: string, data: Buffer | string): Promise<void>;
  remove(path: string): Promise<void>;
  /** The data of a node, and what is known of it; undefined if there is none. */
  get(path: string): Promise<{ readonly data: string; readonly stat: Stat } | undefined>;
  /** The names of the children; none if there is no such node. */
  children(path: string): Promise<readonly string[]>;
  /** The paths of the records of one instance. */
  nodesOf(folder: string, id: string): Promise<readonly string[]>;
  close(): Promise<void>;
}

/** @param digest `user:password`, if it shall be somebody. */
export async function past(host: string, digest?: string): Promise<Past> {
  const client = createClient(host, { sessionTimeout: 10_000, retries: 0 });
  if (digest !== undefined) client.addAuthInfo("digest", Buffer.from(digest));
  const connected = new Promise<void>((resolve) => void client.once("connected", () => resolve()));
  client.connect();
  // Once is enough: what the library makes of half an answer after it has connected again may end the process.
  Reflect.set(Reflect.get(client, "connectionManager") as object, "connect", () => undefined);
  await connected;

  /** Resolves with undefined for an error of this code. */
  const call = <T>(start: (done: (error: unknown, value?: T) => void) => void, tolerated?: number) =>
    new Promise<T | undefined>((resolve, reject) => {
      start((error, value) => {
        if (error instanceof Error && !("code" in error && error.code === tolerated)) reject(error);
        else resolve(value);
      });
    });
  const get = (path: string) =>
    call<{ data: string; stat: Stat }>(
      (done) => client.getData(path, (error, data, stat) => done(error, { data: String(data ?? ""), stat })),
      -101,
    ).then((got) => (got?.stat === undefined ? undefined : got));
  const children = async (path: string) =>
    (await call<string[]>((done) => client.getChildren(path, (error, names) => done(error, names)), -101)) ?? [];

  return {
    client,
    get,
    children,
    async put(path, data, mode = CreateMode.PERSISTENT) {
      const parent = path.slice(0, path.lastIndexOf("/"));
      if (parent !== "") await call((done) => client.mkdirp(parent, done));
      await call<string>((done) => client.create(path, Buffer.from(data), mode, done));
    },
    async change(path, data) {
      await call((done) => client.setData(path, Buffer.from(data), -1, done));
    },
    async remove(path) {
      await call((done) => client.remove(path, -1, done), -101);
    },
    async nodesOf(folder, id) {
      const paths = (await children(folder)).map((name) => `${folder}/${name}`);
      const found = await Promise.all(paths.map(async (path) => (await get(path))?.data.includes(JSON.stringify(id))));
      return paths.filter((_, index) => found[index]);
    },
    async close() {
      // It says nothing if its session is lost already.
      const gone = new Promise<void>((resolve) => void client.once("disconnected", () => resolve()));
      client.close();
      await Promise.race([gone, new Promise((resolve) => setTimeout(resolve, 200))]);
    },
  };
}
