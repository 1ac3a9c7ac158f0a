import { Client, credentials } from "@grpc/grpc-js";
import { etcdRegistry } from "@rollcall/etcd";
import { Etcd3 } from "etcd3";
import { type Change, EtcdWire, createRequest, decodeAnswer, rangeOf } from "./etcd-wire.ts";
import { rollcall } from "./rollcall.ts";
import { MOVING, PREFIX, type Scheme } from "./scheme.ts";

/** What is known of a service, by key. */
type Known = Map<string, { readonly port: number }>;

function apply(known: Known, changes: readonly Change[]): void {
  for (const { key, value } of changes) {
    if (value === undefined) known.delete(key);
    else known.set(key, JSON.parse(value) as { readonly port: number });
  }
}

function portOf(known: Known, service: string): number {
  return known.get(`${PREFIX}/${service}/${service}${MOVING}`)?.port ?? 0;
}

const bareStreams: Scheme = async (url, services, seen) => {
  const wire = new EtcdWire(url);
  await Promise.all(
    services.map(async (service, place) => {
      const range = rangeOf(`${PREFIX}/${service}`);
      const known: Known = new Map();
      await wire.watch(range, (changes) => {
        apply(known, changes);
        seen(place, portOf(known, service));
      });
      apply(known, await wire.list(range));
      seen(place, portOf(known, service));
    }),
  );
};

/** One watch of all services. */
const bareParent: Scheme = async (url, services, seen) => {
  const wire = new EtcdWire(url);
  const range = rangeOf(PREFIX);
  const places = new Map(services.map((service, place) => [service, place]));
  const known = services.map((): Known => new Map());
  const take = (changes: readonly Change[]): void => {
    for (const change of changes) {
      const service = change.key.slice(PREFIX.length + 1, change.key.lastIndexOf("/"));
      const place = places.get(service);
      const its = known[place ?? -1];
      if (place === undefined || its === undefined) continue;
      apply(its, [change]);
      seen(place, portOf(its, service));
    }
  };
  await wire.watch(range, take);
  take(await wire.list(range));
};

/** The way of go-kit: whatever happens, everything is read again. */
const reRead: Scheme = async (url, services, seen) => {
  const wire = new EtcdWire(url);
  await Promise.all(
    services.map(async (service, place) => {
      const range = rangeOf(`${PREFIX}/${service}`);
      let reading = false;
      let again = false;
      const read = async (): Promise<void> => {
        again = reading;
        if (reading) return;
        reading = true;
        const known: Known = new Map();
        apply(known, await wire.list(range));
        seen(place, portOf(known, service));
        reading = false;
        if (again) await read();
      };
      await wire.watch(range, () => void read());
      await read();
    }),
  );
};

const grpcStreams: Scheme = async (url, services, seen) => {
  const client = new Client(new URL(url).host, credentials.createInsecure());
  const wire = new EtcdWire(url);
  await Promise.all(
    services.map(async (service, place) => {
      const range = rangeOf(`${PREFIX}/${service}`);
      const known: Known = new Map();
      await new Promise<void>((resolve) => {
        const stream = client.makeBidiStreamRequest(
          "/etcdserverpb.Watch/Watch",
          (message: Buffer) => message,
          decodeAnswer,
        );
        stream.on("data", ({ created, changes }: ReturnType<typeof decodeAnswer>) => {
          if (created) resolve();
          if (changes.length === 0) return;
          apply(known, changes);
          seen(place, portOf(known, service));
        });
        stream.write(createRequest(range));
      });
      apply(known, await wire.list(range));
      seen(place, portOf(known, service));
    }),
  );
};

const npmEtcd3: Scheme = async (url, services, seen) => {
  const client = new Etcd3({ hosts: url });
  await Promise.all(
    services.map(async (service, place) => {
      const prefix = `${PREFIX}/${service}/`;
      const known: Known = new Map();
      const take = (changes: readonly Change[]): void => {
        apply(known, changes);
        seen(place, portOf(known, service));
      };
      const watcher = await client.watch().prefix(prefix).create();
      watcher.on("put", ({ key, value }) => take([{ key: key.toString(), value: value.toString() }]));
      watcher.on("delete", ({ key }) => take([{ key: key.toString(), value: undefined }]));
      const all = await client.getAll().prefix(prefix).strings();
      take(Object.entries(all).map(([key, value]) => ({ key, value })));
    }),
  );
};

/** The first is the floor. */
export const ETCD_SCHEMES: Readonly<Record<string, Scheme>> = {
  "HTTP/2 by hand": bareStreams,
  rollcall: rollcall((url) => etcdRegistry({ url, prefix: PREFIX })),
  "@grpc/grpc-js": grpcStreams,
  "npm etcd3": npmEtcd3,
  "by hand, all read again": reRead,
  "by hand, one watch of all": bareParent,
};
