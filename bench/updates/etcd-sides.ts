import { type Instance, createEndpointer } from "@rollcall/core";
import { etcdRegistry } from "@rollcall/etcd";
import { startEtcd } from "@rollcall/testing/servers";
import { Etcd3 } from "etcd3";

/** Three ways to follow a set of keys in etcd. Each writes one of its keys, and resolves when it has seen that. */
export interface EtcdSides extends AsyncDisposable {
  /** Through a registry, up to the endpoints. */
  ours(): Promise<void>;
  /** With a watcher of npm `etcd3`: the record that has changed is parsed, and put into a map. */
  watched(): Promise<void>;
  /** The same, but all is read again whenever something has changed, as go-kit does. */
  readAgain(): Promise<void>;
}

/** Writes these instances into an etcd, once for each side, and follows them. */
export async function etcdSides(instances: readonly Instance[]): Promise<EtcdSides> {
  const etcd = await startEtcd();
  const client = new Etcd3({ hosts: etcd.url });
  const write = async ({ id }: Instance, prefix: string, record: unknown): Promise<void> => {
    await client.put(`/${prefix}/lorem/${id}`).value(JSON.stringify(record));
  };
  for (const prefix of ["ours", "watched", "again"]) {
    for (let from = 0; from < instances.length; from += 100) {
      await Promise.all(instances.slice(from, from + 100).map((each) => write(each, prefix, each)));
    }
  }

  const registry = etcdRegistry({ url: etcd.url, prefix: "/ours" });
  const instancer = registry.instancer("lorem");
  const endpointer = createEndpointer(instancer, ({ id }) => id);
  await endpointer.ready();

  let seen = Promise.withResolvers<void>();
  instancer.subscribe(() => seen.resolve());
  const records = new Map<string, unknown>();
  const watcher = await client.watch().prefix("/watched/lorem/").create();
  watcher.on("put", ({ key, value }) => {
    records.set(key.toString(), JSON.parse(value.toString()));
    seen.resolve();
  });
  const again = await client.watch().prefix("/again/lorem/").create();
  again.on("put", () => {
    void client
      .getAll()
      .prefix("/again/lorem/")
      .strings()
      .then((all) => {
        for (const [key, value] of Object.entries(all)) records.set(key, JSON.parse(value));
        seen.resolve();
      });
  });

  let turn = 0;
  const change = async (prefix: string): Promise<void> => {
    const one = instances[++turn % instances.length] as Instance;
    seen = Promise.withResolvers();
    await Promise.all([write(one, prefix, { ...one, weight: 10 + turn }), seen.promise]);
  };
  return {
    ours: () => change("ours"),
    watched: () => change("watched"),
    readAgain: () => change("again"),
    async [Symbol.asyncDispose]() {
      await watcher.cancel();
      await again.cancel();
      await endpointer.close();
      await registry.close();
      client.close();
      await etcd.close();
    },
  };
}
